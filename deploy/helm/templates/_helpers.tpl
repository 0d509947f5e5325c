{{/* Labels of every object. They don't change from release to release: selectors and policies build on them. */}}
{{- define "fiveshot.labels" -}}
app.kubernetes.io/part-of: fiveshot
{{- end }}

{{/* The image of a part: by digest where there is one, since a tag can be moved. Takes root and name. */}}
{{- define "fiveshot.image" -}}
{{- $images := .root.Values.images -}}
{{- $name := printf "%sfiveshot-%s" $images.prefix .name -}}
{{- $digest := get $images.digests .name -}}
{{- if $digest -}}
{{ printf "%s@%s" $name $digest }}
{{- else -}}
{{ printf "%s:%s" $name ($images.tag | default .root.Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{- define "fiveshot.hardened" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What every pod of ours has in common, below `spec`. */}}
{{- define "fiveshot.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/*
Annotations of a pod. Variables and catalogues are read at the start, so another address or catalogue needs new pods. Takes
root and part.
*/}}
{{- define "fiveshot.podAnnotations" -}}
fiveshot/servers: {{ .root.Values.servers | toJson | sha256sum | trunc 16 }}
{{- if .root.Values.baseWeights.enabled }}
fiveshot/catalogue: {{ .root.Values.baseWeights.catalogue | sha256sum | trunc 16 }}
{{- end }}
{{- with .part.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where pods may run. Takes root and part, the part's values. */}}
{{- define "fiveshot.placement" -}}
{{- with .part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Pods of one service on different nodes and zones, as far as that goes. */}}
{{- define "fiveshot.spread" -}}
{{- if .Values.spread }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        app.kubernetes.io/part-of: fiveshot
    matchLabelKeys: [app.kubernetes.io/name, pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}

{{/* A variable from the Secret of all servers. Takes root, name and key. */}}
{{- define "fiveshot.secretVariable" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ .root.Values.secrets.servers }}, key: {{ .key }}}}
{{- end }}

{{/* A variable from the ConfigMap of all servers. Takes name and key. */}}
{{- define "fiveshot.serverVariable" -}}
- name: {{ .name }}
  valueFrom: {configMapKeyRef: {name: fiveshot-servers, key: {{ .key }}}}
{{- end }}

{{/* The variables of the object store. Takes root and prefix.. */}}
{{- define "fiveshot.s3" -}}
{{- $s3 := .root.Values.servers.s3 }}
{{- range $word := list "endpoint" "secure" "bucket" }}
{{ include "fiveshot.serverVariable" (dict "name" (printf "%s_S3_%s" $.prefix (upper $word)) "key" (printf "s3-%s" $word)) }}
{{- end }}
{{- with $s3.region }}
- {name: {{ $.prefix }}_S3_REGION, value: {{ . | quote }}}
{{- end }}
{{- with $s3.publicEndpoint }}
- {name: {{ $.prefix }}_S3_PUBLIC_ENDPOINT, value: {{ . | quote }}}
- {name: {{ $.prefix }}_S3_PUBLIC_SECURE, value: {{ $s3.publicSecure | quote }}}
{{- end }}
{{ include "fiveshot.secretVariable" (dict "root" .root "name" (printf "%s_S3_ACCESS_KEY" .prefix) "key" "s3-access-key") }}
{{ include "fiveshot.secretVariable" (dict "root" .root "name" (printf "%s_S3_SECRET_KEY" .prefix) "key" "s3-secret-key") }}
{{- end }}

{{/* The variables of the event stream. Takes root and prefix. */}}
{{- define "fiveshot.nats" -}}
{{ include "fiveshot.serverVariable" (dict "name" (printf "%s_NATS_URL" .prefix) "key" "nats-url") }}
- {name: {{ .prefix }}_NATS_USER, value: services}
{{ include "fiveshot.secretVariable" (dict "root" .root "name" (printf "%s_NATS_PASSWORD" .prefix) "key" "nats-password") }}
{{- end }}

{{/* Settings that the values add. Takes env, a map. */}}
{{- define "fiveshot.moreVariables" -}}
{{- range $name, $value := .env }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{/* A ServiceAccount, whose annotations may tie it to an identity of the cloud. Takes root, name and part. */}}
{{- define "fiveshot.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  labels: {{- include "fiveshot.labels" .root | nindent 4 }}
  {{- with .part.serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{/* A PodDisruptionBudget. Takes root and name. */}}
{{- define "fiveshot.disruption" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{- include "fiveshot.labels" .root | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      app.kubernetes.io/name: {{ .name }}
{{- end }}

{{/* Grows with its load. Takes root, name and part. */}}
{{- define "fiveshot.autoscaler" -}}
{{- if gt (int .part.autoscaling.minReplicas) (int .part.autoscaling.maxReplicas) }}
{{- fail (printf "%s.autoscaling: minReplicas must not exceed maxReplicas" .name) }}
{{- end -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  labels: {{- include "fiveshot.labels" .root | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .name }}}
  minReplicas: {{ .part.autoscaling.minReplicas }}
  maxReplicas: {{ .part.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ .part.autoscaling.cpuPercent }}}
{{- end }}

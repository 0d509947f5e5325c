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
fiveshot/servers: {{ dict "servers" .root.Values.servers "tracing" .root.Values.tracing | toJson | sha256sum | trunc 16 }}
{{- if .root.Values.baseWeights.enabled }}
fiveshot/catalogue: {{ .root.Values.baseWeights.catalogue | sha256sum | trunc 16 }}
{{- end }}
{{- with .part.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Seconds until Kubernetes kills a pod that ends: those that its calls get by the settings, and what it needs `beside` them (the notice before,
closing after). Takes part, prefix and beside.
*/}}
{{- define "fiveshot.grace" -}}
{{- $calls := get (.part.env | default dict) (printf "%s_SHUTDOWN_GRACE_S" .prefix) | default 10 -}}
terminationGracePeriodSeconds: {{ add (ceil (float64 $calls)) .beside }}
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

{{/* Where a key of the Secret of certificates lies in a pod. Takes root and file. */}}
{{- define "fiveshot.certificate" -}}
{{- if not .root.Values.servers.certificates.secretName }}
{{- fail (printf "%s is a key of servers.certificates.secretName, which is empty" .file) }}
{{- end -}}
/certificates/{{ .file }}
{{- end }}

{{/* The variables of the files of one server. Takes root, prefix (DATASET_NATS) and part, the server's values. */}}
{{- define "fiveshot.files" -}}
{{- range $key, $word := dict "caFile" "CA_FILE" "certFile" "CERT_FILE" "keyFile" "KEY_FILE" "credentialsFile" "CREDENTIALS_FILE" }}
{{- with get $.part $key }}
- {name: {{ $.prefix }}_{{ $word }}, value: {{ include "fiveshot.certificate" (dict "root" $.root "file" .) }}}
{{- end }}
{{- end }}
{{- end }}

{{/* What a pod needs of the Secret of certificates, and of a token for the object store. Take root; s3 for the token. */}}
{{- define "fiveshot.serverMounts" -}}
{{- if .root.Values.servers.certificates.secretName }}
- {name: certificates, mountPath: /certificates, readOnly: true}
{{- end }}
{{- if and .s3 (eq .root.Values.servers.s3.identity "web") }}
- {name: identity, mountPath: /identity, readOnly: true}
{{- end }}
{{- end }}
{{- define "fiveshot.serverVolumes" -}}
{{- with .root.Values.servers.certificates.secretName }}
- name: certificates
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if and .s3 (eq .root.Values.servers.s3.identity "web") }}
# Kubernetes renews the token; it is read again for each exchange.
- name: identity
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: token, audience: {{ .root.Values.servers.s3.tokenAudience | quote }}, expirationSeconds: 3600}
{{- end }}
{{- end }}

{{/* The variables of a service's database. Takes root and name. */}}
{{- define "fiveshot.database" -}}
{{- $prefix := printf "%s_DATABASE" (upper .name) }}
{{ include "fiveshot.secretVariable" (dict "root" .root "name" (printf "%s_URL" $prefix) "key" (printf "%s-database-url" .name)) }}
{{- with .root.Values.servers.database.sslmode }}
- {name: {{ $prefix }}_SSLMODE, value: {{ . }}}
{{- end }}
{{- include "fiveshot.files" (dict "root" .root "prefix" $prefix "part" .root.Values.servers.database) }}
{{- end }}

{{/* The variables of traces. Takes root and prefix. */}}
{{- define "fiveshot.tracing" -}}
{{- with .root.Values.tracing }}
{{- if .endpoint }}
- {name: {{ $.prefix }}_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: {{ $.prefix }}_OTLP_SECURE, value: {{ .secure | quote }}}
- {name: {{ $.prefix }}_TRACE_SHARE, value: {{ .share | quote }}}
{{- include "fiveshot.files" (dict "root" $.root "prefix" (printf "%s_OTLP" $.prefix) "part" .) }}
{{- with .headersSecret }}
- name: {{ $.prefix }}_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ . }}, key: headers}}
{{- end }}
{{- end }}
{{- end }}
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
{{- include "fiveshot.files" (dict "root" .root "prefix" (printf "%s_S3" .prefix) "part" $s3) }}
{{- if ne $s3.addressing "auto" }}
- {name: {{ .prefix }}_S3_ADDRESSING, value: {{ $s3.addressing }}}
{{- end }}
{{- if eq $s3.identity "keys" }}
{{ include "fiveshot.secretVariable" (dict "root" .root "name" (printf "%s_S3_ACCESS_KEY" .prefix) "key" "s3-access-key") }}
{{ include "fiveshot.secretVariable" (dict "root" .root "name" (printf "%s_S3_SECRET_KEY" .prefix) "key" "s3-secret-key") }}
{{- else }}
- {name: {{ .prefix }}_S3_IDENTITY, value: {{ $s3.identity }}}
{{- with $s3.identityUrl }}
- {name: {{ $.prefix }}_S3_IDENTITY_URL, value: {{ . | quote }}}
{{- end }}
{{- if eq $s3.identity "web" }}
- {name: {{ .prefix }}_S3_TOKEN_FILE, value: /identity/token}
{{- with $s3.role }}
- {name: {{ $.prefix }}_S3_ROLE, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The variables of the event stream. Takes root and prefix. */}}
{{- define "fiveshot.nats" -}}
{{ include "fiveshot.serverVariable" (dict "name" (printf "%s_NATS_URL" .prefix) "key" "nats-url") }}
{{- if not .root.Values.servers.nats.credentialsFile }}
- {name: {{ .prefix }}_NATS_USER, value: services}
{{ include "fiveshot.secretVariable" (dict "root" .root "name" (printf "%s_NATS_PASSWORD" .prefix) "key" "nats-password") }}
{{- end }}
{{- include "fiveshot.files" (dict "root" .root "prefix" (printf "%s_NATS" .prefix) "part" .root.Values.servers.nats) }}
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

{{/* What single values cannot say: those that do not go together. */}}
{{- define "fiveshot.check" -}}
{{- with .Values.servers }}
{{- if and .database.caFile (eq .database.sslmode "disable") }}
{{- fail "servers.database: caFile has no meaning with sslmode disable" }}
{{- end }}
{{- if and .s3.caFile (not .s3.secure) }}
{{- fail "servers.s3: caFile has no meaning without secure" }}
{{- end }}
{{- end }}
{{- with .Values.tracing }}
{{- if and .endpoint (not .secure) (or .caFile .certFile) }}
{{- fail "tracing: caFile and certFile have no meaning without secure" }}
{{- end }}
{{- end }}
{{- with .Values.ingress }}
{{- if and .enabled (eq .http.host .grpc.host) }}
{{- fail "ingress: http.host and grpc.host must differ, since an Ingress speaks one of the two to what is behind it" }}
{{- end }}
{{- end }}
{{- if .Values.gatewayApi.enabled }}
{{- range .Values.gatewayApi.http.hosts }}
{{- if has . $.Values.gatewayApi.grpc.hosts }}
{{- fail (printf "gatewayApi: %s is a host of http and of grpc, which one listener does not take" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- $paths := dict }}
{{- range .Values.baseWeights.files }}
{{- if hasKey $paths .path }}
{{- fail (printf "baseWeights.files: path %s stands there twice" .path) }}
{{- end }}
{{- $_ := set $paths .path true }}
{{- end }}
{{- end }}

{{/*
A service: Deployment, Service, ServiceAccount, PodDisruptionBudget and, if asked for, an autoscaler. Takes root, name, port,
and what it needs: s3 and nats as true or false, targets as a map from the word in the variable to host:port.
*/}}
{{- define "fiveshot.service" -}}
{{- $part := get .root.Values .name }}
{{- $prefix := upper .name }}
{{- $facts := dict "root" .root "name" .name "part" $part "prefix" $prefix }}
{{- $taggers := eq .name "tagger" | ternary (dig "taggers" "existingClaim" "" $part) "" }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels: {{- include "fiveshot.labels" .root | nindent 4 }}
spec:
  {{- if not $part.autoscaling.enabled }}
  replicas: {{ $part.replicas }}
  {{- end }}
  selector:
    matchLabels:
      app.kubernetes.io/name: {{ .name }}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: {{ .name }}
        {{- include "fiveshot.labels" .root | nindent 8 }}
      annotations: {{- include "fiveshot.podAnnotations" $facts | nindent 8 }}
    spec:
      {{- include "fiveshot.pod" .root | nindent 6 }}
      serviceAccountName: {{ .name }}
      {{ include "fiveshot.grace" (dict "part" $part "prefix" $prefix "beside" 20) }}
      {{- with include "fiveshot.placement" $facts | trim }}{{ . | nindent 6 }}{{ end }}
      {{- with include "fiveshot.spread" .root | trim }}{{ . | nindent 6 }}{{ end }}
      containers:
        - name: app
          image: {{ include "fiveshot.image" $facts }}
          {{- with .root.Values.images.pullPolicy }}
          imagePullPolicy: {{ . }}
          {{- end }}
          args: [services.{{ .name }}.app]
          ports:
            - {name: grpc, containerPort: {{ .port }}}
            - {name: metrics, containerPort: 9090}
          env:
            - {name: {{ $prefix }}_LISTEN, value: "0.0.0.0:{{ .port }}"}
            - {name: {{ $prefix }}_METRICS_LISTEN, value: "0.0.0.0:9090"}
            {{- include "fiveshot.database" $facts | trim | nindent 12 }}
            {{- if .root.Values.migrations.enabled }}
            - {name: {{ $prefix }}_DATABASE_MIGRATE, value: "false"}
            {{- end }}
            {{- if .s3 }}
            {{- include "fiveshot.s3" $facts | trim | nindent 12 }}
            {{- end }}
            {{- if .nats }}
            {{- include "fiveshot.nats" $facts | trim | nindent 12 }}
            {{- end }}
            {{- range $word, $target := .targets }}
            - {name: {{ $prefix }}_{{ $word }}_TARGET, value: {{ $target | quote }}}
            {{- end }}
            - {name: {{ $prefix }}_SHUTDOWN_NOTICE_S, value: "5"}
            - {name: {{ $prefix }}_INTERNAL_TOKEN_FILE, value: /inside/token}
            - {name: {{ $prefix }}_CALLERS_FILE, value: /inside/callers.json}
            {{- include "fiveshot.secretVariable" (dict "root" .root "name" (printf "%s_PAGE_TOKEN_KEY" $prefix) "key" "page-token-key") | nindent 12 }}
            - {name: {{ $prefix }}_REQUIRE_PROJECT_HEADER, value: "true"}
            {{- if and (eq .name "trainer") .root.Values.baseWeights.enabled }}
            - {name: TRAINER_CATALOGUE, value: /catalogue/base_models.toml}
            {{- end }}
            {{- with include "fiveshot.tracing" $facts | trim }}{{ . | nindent 12 }}{{ end }}
            {{- if $taggers }}
            - {name: TAGGER_TAGGERS_DIR, value: /taggers}
            {{- end }}
            {{- with include "fiveshot.moreVariables" $part | trim }}{{ . | nindent 12 }}{{ end }}
          startupProbe:
            grpc: {port: {{ .port }}, service: startup}
            periodSeconds: 1
            failureThreshold: 120
          readinessProbe:
            grpc: {port: {{ .port }}}
            periodSeconds: 5
          livenessProbe:
            grpc: {port: {{ .port }}, service: liveness}
            periodSeconds: 10
            failureThreshold: 6
          securityContext: {{- include "fiveshot.hardened" .root | nindent 12 }}
          resources: {{- toYaml $part.resources | nindent 12 }}
          volumeMounts:
            - {name: inside, mountPath: /inside, readOnly: true}
            - {name: tmp, mountPath: /tmp}
            {{- if $taggers }}
            - {name: taggers, mountPath: /taggers, readOnly: true}
            {{- end }}
            {{- with include "fiveshot.serverMounts" . | trim }}{{ . | nindent 12 }}{{ end }}
            {{- if eq .name "trainer" }}
            {{- with include "fiveshot.weightMounts" .root | trim }}{{ . | nindent 12 }}{{ end }}
            {{- end }}
      volumes:
        # Its own token and its callers; a Secret that changes is read without a restart.
        - name: inside
          secret: {secretName: {{ .root.Values.secrets.insidePrefix }}{{ .name }}, defaultMode: 0440}
        - name: tmp
          emptyDir: {}
        {{- if $taggers }}
        - name: taggers
          persistentVolumeClaim: {claimName: {{ $taggers }}, readOnly: true}
        {{- end }}
        {{- with include "fiveshot.serverVolumes" . | trim }}{{ . | nindent 8 }}{{ end }}
        {{- if eq .name "trainer" }}
        {{- with include "fiveshot.weightVolumes" .root | trim }}{{ . | nindent 8 }}{{ end }}
        {{- end }}
---
# Headless: a name that gives every pod's address lets Envoy balance call by call instead of connection by connection.
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  labels: {{- include "fiveshot.labels" .root | nindent 4 }}
spec:
  clusterIP: None
  selector:
    app.kubernetes.io/name: {{ .name }}
  ports:
    - {name: grpc, port: {{ .port }}, targetPort: grpc, appProtocol: kubernetes.io/h2c}
---
{{ include "fiveshot.account" $facts }}
---
{{ include "fiveshot.disruption" $facts }}
{{- if $part.autoscaling.enabled }}
---
{{ include "fiveshot.autoscaler" $facts }}
{{- end }}
{{- end }}

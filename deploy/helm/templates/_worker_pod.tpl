{{/* The pod of a worker. Takes root, name, part, prefix, and asJob: whether it ends when it idles. */}}
{{- define "fiveshot.workerPod" -}}
metadata:
  labels:
    app.kubernetes.io/name: worker
    {{- include "fiveshot.labels" .root | nindent 4 }}
  annotations: {{- include "fiveshot.podAnnotations" . | nindent 4 }}
spec:
  {{- include "fiveshot.pod" .root | nindent 2 }}
  {{- if .asJob }}
  restartPolicy: Never
  {{- end }}
  serviceAccountName: worker
  {{ include "fiveshot.grace" (dict "part" .part "prefix" "WORKER" "beside" 110) }}
  {{- with .part.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with include "fiveshot.placement" . | trim }}{{ . | nindent 2 }}{{ end }}
  containers:
    - name: app
      image: {{ include "fiveshot.image" . }}
      {{- with .root.Values.images.pullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      args: [services.trainer.worker.app]
      ports:
        - {name: grpc, containerPort: 7456}
        - {name: metrics, containerPort: 9090}
      env:
        - {name: WORKER_LISTEN, value: "0.0.0.0:7456"}
        - {name: WORKER_METRICS_LISTEN, value: "0.0.0.0:9090"}
        {{- include "fiveshot.s3" . | trim | nindent 8 }}
        - {name: WORKER_TRAINER_TARGET, value: "trainer:7453"}
        - {name: WORKER_DATASET_TARGET, value: "dataset:7451"}
        - {name: WORKER_REGISTRY_TARGET, value: "registry:7454"}
        - {name: WORKER_SCRATCH_DIR, value: /scratch}
        - {name: WORKER_DEVICE, value: {{ .part.device | quote }}}
        - name: WORKER_WORKER_ID
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - {name: WORKER_INTERNAL_TOKEN_FILE, value: /inside/token}
        {{- if .asJob }}
        - {name: WORKER_IDLE_EXIT_SECONDS, value: "{{ .part.keda.cooldownSeconds }}"}
        {{- end }}
        {{- if .root.Values.baseWeights.enabled }}
        - {name: WORKER_CATALOGUE, value: /catalogue/base_models.toml}
        {{- end }}
        {{- with include "fiveshot.tracing" . | trim }}{{ . | nindent 8 }}{{ end }}
        {{- with include "fiveshot.moreVariables" .part | trim }}{{ . | nindent 8 }}{{ end }}
      # No readiness probe: nobody calls a worker.
      startupProbe:
        grpc: {port: 7456, service: startup}
        periodSeconds: 2
        failureThreshold: 120
      livenessProbe:
        grpc: {port: 7456, service: liveness}
        periodSeconds: 20
        timeoutSeconds: 10
        failureThreshold: 6
      securityContext: {{- include "fiveshot.hardened" .root | nindent 8 }}
      resources: {{- toYaml .part.resources | nindent 8 }}
      volumeMounts:
        - {name: scratch, mountPath: /scratch}
        - {name: inside, mountPath: /inside, readOnly: true}
        # PyTorch hands tensors between processes through shared memory; a container has 64 MB of it by default.
        - {name: shm, mountPath: /dev/shm}
        - {name: tmp, mountPath: /tmp}
        {{- with include "fiveshot.serverMounts" (dict "root" .root "s3" true) | trim }}{{ . | nindent 8 }}{{ end }}
        {{- with include "fiveshot.weightMounts" .root | trim }}{{ . | nindent 8 }}{{ end }}
  volumes:
    - name: scratch
      emptyDir: {sizeLimit: {{ .part.scratchSize }}}
    - name: shm
      emptyDir: {medium: Memory, sizeLimit: {{ .part.sharedMemorySize }}}
    # Its own token and its callers; a Secret that changes is read without a restart.
    - name: inside
      secret: {secretName: {{ .root.Values.secrets.insidePrefix }}worker, defaultMode: 0440}
    - name: tmp
      emptyDir: {}
    {{- with include "fiveshot.serverVolumes" (dict "root" .root "s3" true) | trim }}{{ . | nindent 4 }}{{ end }}
    {{- with include "fiveshot.weightVolumes" .root | trim }}{{ . | nindent 4 }}{{ end }}
{{- end }}

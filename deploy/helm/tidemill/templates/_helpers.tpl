{{- define "tidemill.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (default .Chart.Name .Values.nameOverride) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (default .Chart.Name .Values.nameOverride) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tidemill.chosen" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tidemill.labels" -}}
{{ include "tidemill.chosen" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "tidemill.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tidemill.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Of one image: (list $ name) */}}
{{- define "tidemill.image" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}
{{- $digest := index $root.Values.image.digests $name -}}
{{- if $digest -}}
{{- printf "%s/%s@%s" $root.Values.image.repository $name $digest -}}
{{- else -}}
{{- printf "%s/%s:%s" $root.Values.image.repository $name (default $root.Chart.AppVersion $root.Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Addresses, with references to the files of secrets: (list $ user) */}}
{{- define "tidemill.natsUrl" -}}
{{- $nats := (index . 0).Values.nats -}}
{{- printf "%s://%s:${file:/run/secrets/nats}@%s%s" (ternary "tls" "nats" $nats.tls) (index . 1) $nats.servers (ternary "?tls_ca=/run/secrets/ca.crt" "" $nats.tls) -}}
{{- end -}}

{{- define "tidemill.databaseUrl" -}}
{{- $postgres := (index . 0).Values.postgres -}}
{{- printf "postgresql://%s:${file:/run/secrets/database}@%s:%v/%s%s" (index . 1) $postgres.host $postgres.port $postgres.database (empty $postgres.parameters | ternary "" (printf "?%s" $postgres.parameters)) -}}
{{- end -}}

{{- define "tidemill.redisUrl" -}}
{{- $redis := .Values.redis -}}
{{- printf "%s://:${file:/run/secrets/redis}@%s:%v/0" (ternary "rediss" "redis" $redis.tls) $redis.host $redis.port -}}
{{- end -}}

{{/* Files of secrets: (list $ natsUser databaseKey). The last may be empty. */}}
{{- define "tidemill.secrets" -}}
{{- $root := index . 0 -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ default $root.Values.existingSecret $root.Values.nats.existingSecret }}
          items:
            - {key: nats-{{ index . 1 }}, path: nats}
            {{- if $root.Values.nats.tls }}
            - {key: ca.crt, path: ca.crt}
            {{- end }}
      - secret:
          name: {{ default $root.Values.existingSecret $root.Values.postgres.existingSecret }}
          items:
            - {key: {{ index . 2 }}, path: database}
      - secret:
          name: {{ default $root.Values.existingSecret $root.Values.redis.existingSecret }}
          items:
            - {key: redis, path: redis}
{{- end -}}

{{/* tidemill.yaml and sources/ in one volume: a mount within a read-only one cannot be made. */}}
{{- define "tidemill.config" -}}
- name: config
  projected:
    sources:
      - configMap:
          name: {{ include "tidemill.fullname" . }}-config
      {{- with .Values.config.sources }}
      - configMap:
          name: {{ include "tidemill.fullname" $ }}-sources
          items:
            {{- range $name, $source := . }}
            - {key: {{ $name }}.yaml, path: sources/{{ $name }}.yaml}
            {{- end }}
      {{- end }}
{{- end -}}

{{/* Of every pod */}}
{{- define "tidemill.pod" -}}
serviceAccountName: {{ include "tidemill.account" . }}
automountServiceAccountToken: false
# Kubernetes' own variables TIDEMILL_SCHEDULER_PORT … would be taken for settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "tidemill.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What every container is told; an archive without a bucket is a mounted claim. */}}
{{- define "tidemill.env" -}}
- {name: TIDEMILL_ENV, value: {{ .Values.config.environment | quote }}}
- {name: TIDEMILL_STREAM_REPLICAS, value: {{ .Values.nats.streamReplicas | quote }}}
{{- if .Values.archive.url }}
- {name: ARCHIVE_URL, value: {{ .Values.archive.url | quote }}}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

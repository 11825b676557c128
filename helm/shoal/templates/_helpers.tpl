{{- define "shoal.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* At most 39 characters: a CronJob's name may have 52, and the longest suffix is `-restore-test`. */}}
{{- define "shoal.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 39 | trimSuffix "-" }}
{{- else if contains (include "shoal.name" .) .Release.Name }}
{{- .Release.Name | trunc 39 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "shoal.name" .) | trunc 39 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "shoal.selector" -}}
app.kubernetes.io/name: {{ include "shoal.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object; a component may be added beside them. */}}
{{- define "shoal.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: shoal
{{ include "shoal.selector" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "shoal.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- define "shoal.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "shoal.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "shoal.embedded" -}}
{{- if eq .Values.mode "embedded" }}true{{ end }}
{{- end }}

{{- define "shoal.dataClaim" -}}
{{ default (printf "%s-data" (include "shoal.fullname" .)) .Values.persistence.existingClaim }}
{{- end }}

{{- define "shoal.backupClaim" -}}
{{ default (printf "%s-backup" (include "shoal.fullname" .)) .Values.backup.persistence.existingClaim }}
{{- end }}

{{/* The settings: what the chart decides, and `config`. */}}
{{- define "shoal.settings" -}}
SHOAL_LISTEN: "0.0.0.0:8080"
SHOAL_DATA_DIR: /data
SHOAL_DRAIN_PERIOD: {{ printf "%ds" (int .Values.shutdown.drainSeconds) | quote }}
SHOAL_SHUTDOWN_GRACE: {{ printf "%ds" (int .Values.shutdown.graceSeconds) | quote }}
{{- range $key, $value := .Values.config }}
SHOAL_{{ upper $key }}: {{ if kindIs "float64" $value }}{{ printf "%v" (int64 $value) | quote }}{{ else }}{{ toString $value | quote }}{{ end }}
{{- end }}
{{- end }}

{{/* The address of MongoDB, as a variable. */}}
{{- define "shoal.mongodbEnv" -}}
- name: SHOAL_MONGODB_URL
{{- if .Values.mongodb.enabled }}
  value: mongodb://{{ include "shoal.fullname" . }}-mongodb-0.{{ include "shoal.fullname" . }}-mongodb:27017/?replicaSet=rs0
{{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.existingSecret.name }}
      key: {{ .Values.existingSecret.mongodbUrlKey }}
{{- end }}
{{- end }}

{{/* What comes from Secrets, as variables. */}}
{{- define "shoal.secretEnv" -}}
{{- if not (include "shoal.embedded" .) }}
- name: SHOAL_REDIS_URL
{{- if .Values.redis.enabled }}
  value: redis://{{ include "shoal.fullname" . }}-redis:6379
{{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.existingSecret.name }}
      key: {{ .Values.existingSecret.redisUrlKey }}
{{- end }}
{{ include "shoal.mongodbEnv" . }}
{{- end }}
{{- with .Values.existingSecret.githubTokenKey }}
- name: SHOAL_GITHUB_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.existingSecret.name }}
      key: {{ . }}
{{- end }}
{{- end }}

{{/* What was scraped of this release, as labels of Prometheus. Another's ServiceMonitor may name its job as it likes. */}}
{{- define "shoal.scraped" -}}
namespace="{{ .Release.Namespace }}"{{ if .Values.metrics.serviceMonitor.enabled }},job="{{ .Release.Name }}"{{ end }}
{{- end }}

{{/* Something that changes with the Secret. Empty where Helm can't or mustn't look: `helm template`, --dry-run. */}}
{{- define "shoal.secretDigest" -}}
{{- with .Values.existingSecret.name }}
{{- with (lookup "v1" "Secret" $.Release.Namespace .).data }}{{ toJson . | sha256sum }}{{ end }}
{{- end }}
{{- end }}

{{/* What pods of Jobs have in common with the replicas. */}}
{{- define "shoal.jobPod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "shoal.serviceAccount" . }}
restartPolicy: Never
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

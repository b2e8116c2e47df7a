{{- define "tidegate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the objects. Short enough for what is added behind it. */}}
{{- define "tidegate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "tidegate.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What tells this release's pods from all others; fixed for a Deployment's whole life. */}}
{{- define "tidegate.releaseLabels" -}}
app.kubernetes.io/name: {{ include "tidegate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* What tells the gateways from the release's other pods, such as that of `helm test`. */}}
{{- define "tidegate.selectorLabels" -}}
{{ include "tidegate.releaseLabels" . }}
app.kubernetes.io/component: gateway
{{- end -}}

{{/* The labels of every object: (dict "root" $ "component" … "labels" …), the last two if it has them. */}}
{{- define "tidegate.labels" -}}
{{- $labels := dict -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" (.root.Values.image.tag | default .root.Chart.AppVersion | trunc 63 | trimSuffix "-" | trimSuffix ".")
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/component" (.component | default "gateway")
  "app.kubernetes.io/part-of" "tidegate" -}}
{{- $labels = merge $labels (fromYaml (include "tidegate.releaseLabels" .root)) $own (.labels | default dict) .root.Values.commonLabels -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* The labels of the pods. No chart's version: it would restart them for nothing. */}}
{{- define "tidegate.podLabels" -}}
{{- $own := dict "app.kubernetes.io/version" (.Values.image.tag | default .Chart.AppVersion | trunc 63 | trimSuffix "-" | trimSuffix ".")
  "app.kubernetes.io/managed-by" .Release.Service "app.kubernetes.io/part-of" "tidegate" -}}
{{- toYaml (merge dict (fromYaml (include "tidegate.selectorLabels" .)) $own .Values.podLabels .Values.commonLabels) -}}
{{- end -}}

{{- define "tidegate.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "tidegate.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* "true" if the pods speak to the API server. */}}
{{- define "tidegate.usesKubernetes" -}}
{{- if or .Values.kubernetes.watchSecret .Values.kubernetes.deletionCost .Values.kubernetes.janitor -}}true{{- end -}}
{{- end -}}

{{/* "true" if one of the pods is elected to do what only one should. */}}
{{- define "tidegate.electsLeader" -}}
{{- if or .Values.kubernetes.deletionCost .Values.kubernetes.janitor -}}true{{- end -}}
{{- end -}}

{{- define "tidegate.leaseName" -}}
{{- printf "%s-leader" (include "tidegate.fullname" .) -}}
{{- end -}}

{{/* The Secret of the signing keys. */}}
{{- define "tidegate.authSecretName" -}}
{{- .Values.auth.existingSecret | default (printf "%s-auth" (include "tidegate.fullname" .)) -}}
{{- end -}}

{{- define "tidegate.redisSecretName" -}}
{{- .Values.redis.existingSecret | default (printf "%s-redis" (include "tidegate.fullname" .)) -}}
{{- end -}}

{{/* "true" if the number of pods is not the Deployment's own. */}}
{{- define "tidegate.isAutoscaled" -}}
{{- if or .Values.autoscaling.enabled .Values.keda.enabled -}}true{{- end -}}
{{- end -}}

{{- define "tidegate.minReplicas" -}}
{{- if .Values.keda.enabled -}}
{{- ternary .Values.autoscaling.minReplicas .Values.keda.minReplicas (kindIs "invalid" .Values.keda.minReplicas) -}}
{{- else -}}
{{- .Values.autoscaling.minReplicas -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.maxReplicas" -}}
{{- if .Values.keda.enabled -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.keda.maxReplicas (kindIs "invalid" .Values.keda.maxReplicas) -}}
{{- else -}}
{{- .Values.autoscaling.maxReplicas -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.connectionsPerPod" -}}
{{- if .Values.keda.enabled -}}
{{- .Values.keda.connectionsPerPod | default .Values.autoscaling.connectionsPerPod | int -}}
{{- else -}}
{{- .Values.autoscaling.connectionsPerPod | int -}}
{{- end -}}
{{- end -}}

{{/* How many pods there are at least. */}}
{{- define "tidegate.replicas" -}}
{{- if include "tidegate.isAutoscaled" . -}}
{{- include "tidegate.minReplicas" . -}}
{{- else if not (kindIs "invalid" .Values.replicaCount) -}}
{{- .Values.replicaCount -}}
{{- else -}}
{{- ternary 1 3 (eq .Values.log.kind "memory") -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.brokers" -}}
{{- if kindIs "slice" .Values.kafka.brokers -}}
{{- join "," .Values.kafka.brokers -}}
{{- else -}}
{{- .Values.kafka.brokers -}}
{{- end -}}
{{- end -}}

{{/* What the public port speaks. */}}
{{- define "tidegate.scheme" -}}
{{- ternary "https" "http" (not (empty .Values.tls.existingSecret)) -}}
{{- end -}}

{{/* The Service as the release's pods and its neighbours reach it. */}}
{{- define "tidegate.serviceUrl" -}}
{{- $port := .Values.service.port | int -}}
{{- if .Values.service.headless -}}{{- $port = 30000 -}}{{- end -}}
{{- $isDefault := eq $port (ternary 443 80 (not (empty .Values.tls.existingSecret))) -}}
{{- printf "%s://%s.%s%s" (include "tidegate.scheme" .) (include "tidegate.fullname" .) .Release.Namespace (ternary "" (printf ":%d" $port) $isDefault) -}}
{{- end -}}

{{/* Lays the dict "from" over the dict "into", member by member. Unlike sprig's, `false` and 0 win, too. */}}
{{- define "tidegate.overlay" -}}
{{- range $key, $value := .from -}}
{{- if and (kindIs "map" $value) (kindIs "map" (get $.into $key)) -}}
{{- include "tidegate.overlay" (dict "into" (get $.into $key) "from" $value) -}}
{{- else -}}
{{- $_ := set $.into $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The settings that the values stand for. Null members are left out. */}}
{{- define "tidegate.ownConfig" -}}
public:
  addr: {{ printf "%s:30000" .Values.listenAddress | quote }}
  {{- with .Values.trustedProxies }}
  trusted_proxies: {{ toJson . }}
  {{- end }}
admin:
  addr: {{ printf "%s:30001" .Values.listenAddress | quote }}
telemetry:
  log_level: {{ .Values.telemetry.logLevel | quote }}
  log_format: {{ .Values.telemetry.logFormat | quote }}
log:
  kind: {{ .Values.log.kind }}
  window_bytes: {{ .Values.log.windowBytes | quote }}
  window_age: {{ .Values.log.windowAge | quote }}
{{- if eq .Values.log.kind "kafka" }}
kafka:
  {{- with .Values.kafka }}
  brokers: {{ include "tidegate.brokers" $ | quote }}
  group_prefix: {{ .groupPrefix | default (printf "tidegate/%s/%s" $.Release.Namespace $.Release.Name) | quote }}
  assignment: {{ .assignment }}
  create_topics: {{ .createTopics }}
  partitions: {{ toJson .partitions }}
  replication: {{ toJson .replication }}
  events_topic: {{ .topics.events | quote }}
  broadcast_topic: {{ .topics.broadcast | quote }}
  dead_letters_topic: {{ .topics.deadLetters | quote }}
  deliveries_topic: {{ .topics.deliveries | quote }}
  {{- with .sources }}
  sources: {{ toJson . }}
  {{- end }}
  options:
    {{- if or .tls.enabled .sasl.mechanism }}
    security.protocol: {{ printf "%s%s" (ternary "SASL_" "" (ne .sasl.mechanism "")) (ternary "SSL" "PLAINTEXT" .tls.enabled) | lower }}
    {{- end }}
    {{- if .tls.enabled }}
    {{- if .tls.caSecret }}
    ssl.ca.location: /etc/tidegate/kafka-ca/ca.crt
    {{- end }}
    {{- if .tls.clientSecret }}
    ssl.certificate.location: /etc/tidegate/kafka-client/tls.crt
    ssl.key.location: /etc/tidegate/kafka-client/tls.key
    {{- end }}
    {{- end }}
    {{- with .sasl.mechanism }}
    sasl.mechanism: {{ . }}
    {{- end }}
    {{- with .sasl.username }}
    sasl.username: {{ . | quote }}
    {{- end }}
    {{- with .options }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- else if eq .Values.log.kind "redis" }}
redis:
  {{- with .Values.redis }}
  prefix: {{ toJson .prefix }}
  shards: {{ toJson .shards }}
  max_age: {{ toJson .maxAge }}
  max_len: {{ toJson .maxLen }}
  wait_replicas: {{ toJson .waitReplicas }}
  {{- if .caSecret }}
  ca_file: /etc/tidegate/redis-ca/ca.crt
  {{- end }}
  {{- end }}
{{- end }}
auth:
  mode: {{ .Values.auth.mode | quote }}
  {{- if eq .Values.auth.mode "hmac" }}
  keys_file: /etc/tidegate/auth/keys
  max_lifetime: {{ toJson .Values.auth.maxLifetime }}
  require_body_hash: {{ .Values.auth.requireBodyHash }}
  {{- end }}
stream:
  heartbeat: {{ .Values.stream.heartbeat | quote }}
  {{- if .Values.stream.gzip }}
  gzip: true
  {{- end }}
  max_age: {{ .Values.stream.maxAge | default (include "tidegate.derivedMaxAge" .) | default nil | toJson }}
drain:
  grace: {{ include "tidegate.duration" (include "tidegate.gatewayGraceMs" .) | quote }}
  window: {{ .Values.drain.window | quote }}
  deadline: {{ .Values.drain.deadline | quote }}
limits:
  connections: {{ .Values.limits.connections | int }}
{{- with .Values.corsOrigins }}
cors:
  origins: {{ toJson . }}
{{- end }}
{{- if .Values.tls.existingSecret }}
tls:
  cert_file: /etc/tidegate/tls/tls.crt
  key_file: /etc/tidegate/tls/tls.key
{{- end }}
{{- with .Values.otel }}
{{- if .endpoint }}
otel:
  endpoint: {{ .endpoint | quote }}
  protocol: {{ .protocol | quote }}
  sample_ratio: {{ toJson .sampleRatio }}
{{- end }}
{{- end }}
console:
  enabled: {{ .Values.console.enabled }}
{{- if include "tidegate.usesKubernetes" . }}
kubernetes:
  {{- if .Values.kubernetes.watchSecret }}
  secret: {{ include "tidegate.authSecretName" . }}
  {{- end }}
  {{- if include "tidegate.electsLeader" . }}
  lease: {{ include "tidegate.leaseName" . }}
  deletion_cost: {{ .Values.kubernetes.deletionCost }}
  janitor: {{ .Values.kubernetes.janitor }}
  {{- $selector := list -}}
  {{- range $name, $value := fromYaml (include "tidegate.selectorLabels" .) -}}
  {{- $selector = append $selector (printf "%s=%s" $name $value) -}}
  {{- end }}
  selector: {{ join "," $selector | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The whole file of settings: what the values stand for, and `config` over it. */}}
{{- define "tidegate.config" -}}
{{- $config := fromYaml (include "tidegate.ownConfig" .) -}}
{{- if hasKey $config "Error" -}}{{- fail (printf "the settings are no YAML: %s" $config.Error) -}}{{- end -}}
{{- include "tidegate.overlay" (dict "into" $config "from" (deepCopy .Values.config)) -}}
{{- range $section, $settings := $config -}}
{{- if kindIs "map" $settings -}}
{{- range $name, $value := $settings -}}
{{- if kindIs "invalid" $value -}}{{- $_ := unset $settings $name -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if empty $settings -}}{{- $_ := unset $config $section -}}{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/*
How long a proxy lets a stream live at all, in milliseconds: 0 where it may live for ever. Google's load
balancer has only this timeout, and an HTTPRoute's request timeout is one, too.
*/}}
{{- define "tidegate.streamLifeMs" -}}
{{- $lives := list -}}
{{- if and .Values.ingress.enabled (eq .Values.ingress.flavour "gce") -}}
{{- $lives = append $lives (include "tidegate.milliseconds" .Values.ingress.streamTimeout | atoi) -}}
{{- end -}}
{{- if .Values.httpRoute.enabled -}}
{{- range list .Values.httpRoute.timeouts.request .Values.httpRoute.timeouts.backendRequest -}}
{{- $life := include "tidegate.milliseconds" (. | default "0s") | atoi -}}
{{- if gt $life 0 -}}{{- $lives = append $lives $life -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $shortest := 0 -}}
{{- range $lives -}}
{{- if or (eq $shortest 0) (lt . $shortest) -}}{{- $shortest = . -}}{{- end -}}
{{- end -}}
{{- $shortest -}}
{{- end -}}

{{/* The age at which the gateway says goodbye before a proxy cuts the stream; empty for none. */}}
{{- define "tidegate.derivedMaxAge" -}}
{{- $life := include "tidegate.streamLifeMs" . | atoi -}}
{{- if gt $life 0 -}}{{- include "tidegate.duration" (div (mul $life 9) 10) -}}{{- end -}}
{{- end -}}

{{/* What is left of `drain.grace` for the gateway when the kubelet's sleep is over, in milliseconds. */}}
{{- define "tidegate.gatewayGraceMs" -}}
{{- $sleep := mul 1000 (include "tidegate.seconds" .Values.preStop.sleep | atoi) -}}
{{- max 0 (sub (include "tidegate.milliseconds" .Values.drain.grace | atoi) $sleep) -}}
{{- end -}}

{{/* The shortest grace period that lets a pod drain. */}}
{{- define "tidegate.shortestGracePeriod" -}}
{{- $deadline := (fromYaml (include "tidegate.config" .)).drain.deadline -}}
{{- add (include "tidegate.seconds" .Values.preStop.sleep | atoi) (include "tidegate.seconds" $deadline | atoi) -}}
{{- end -}}

{{/* The same for load balancers, which let a pod that leaves finish for an hour at most. */}}
{{- define "tidegate.leavingSeconds" -}}
{{- min 3600 (include "tidegate.shortestGracePeriod" . | atoi) -}}
{{- end -}}

{{/* How long pods have to leave: the kubelet's sleep, the drain, and 5 s to exit. */}}
{{- define "tidegate.gracePeriod" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add (include "tidegate.shortestGracePeriod" . | atoi) 5 -}}
{{- else -}}
{{- .Values.terminationGracePeriodSeconds | int -}}
{{- end -}}
{{- end -}}

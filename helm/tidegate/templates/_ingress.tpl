{{/* What each kind of ingress controller needs to let streams through, unbuffered and for long. */}}
{{- define "tidegate.ingressAnnotations" -}}
{{- $annotations := dict -}}
{{- $seconds := include "tidegate.seconds" .Values.ingress.streamTimeout -}}
{{- $isTls := not (empty .Values.tls.existingSecret) -}}
{{- if eq .Values.ingress.flavour "nginx" -}}
{{- $annotations = dict
  "nginx.ingress.kubernetes.io/proxy-buffering" "off"
  "nginx.ingress.kubernetes.io/proxy-request-buffering" "off"
  "nginx.ingress.kubernetes.io/proxy-http-version" "1.1"
  "nginx.ingress.kubernetes.io/proxy-read-timeout" $seconds
  "nginx.ingress.kubernetes.io/proxy-send-timeout" $seconds
  "nginx.ingress.kubernetes.io/proxy-body-size" "0" -}}
{{- if $isTls -}}{{- $_ := set $annotations "nginx.ingress.kubernetes.io/backend-protocol" "HTTPS" -}}{{- end -}}
{{- else if eq .Values.ingress.flavour "haproxy" -}}
{{- /* Two controllers go by this name; each passes over the other's. */ -}}
{{- $annotations = dict
  "haproxy.org/timeout-server" (printf "%ss" $seconds)
  "haproxy-ingress.github.io/timeout-server" (printf "%ss" $seconds)
  "haproxy-ingress.github.io/timeout-client" (printf "%ss" $seconds)
  "haproxy-ingress.github.io/proxy-body-size" "unlimited" -}}
{{- if $isTls -}}
{{- $_ := set $annotations "haproxy.org/server-ssl" "true" -}}
{{- $_ := set $annotations "haproxy-ingress.github.io/backend-protocol" "h1-ssl" -}}
{{- end -}}
{{- else if eq .Values.ingress.flavour "alb" -}}
{{- $annotations = dict
  "alb.ingress.kubernetes.io/target-type" "ip"
  "alb.ingress.kubernetes.io/load-balancer-attributes" (printf "idle_timeout.timeout_seconds=%s" $seconds)
  "alb.ingress.kubernetes.io/target-group-attributes" (printf "deregistration_delay.timeout_seconds=%s,load_balancing.algorithm.type=least_outstanding_requests" (include "tidegate.leavingSeconds" .))
  "alb.ingress.kubernetes.io/healthcheck-protocol" "HTTP"
  "alb.ingress.kubernetes.io/healthcheck-port" "30001"
  "alb.ingress.kubernetes.io/healthcheck-path" "/readyz"
  "alb.ingress.kubernetes.io/healthcheck-interval-seconds" "5"
  "alb.ingress.kubernetes.io/healthcheck-timeout-seconds" "2"
  "alb.ingress.kubernetes.io/healthy-threshold-count" "2"
  "alb.ingress.kubernetes.io/unhealthy-threshold-count" "2" -}}
{{- if $isTls -}}{{- $_ := set $annotations "alb.ingress.kubernetes.io/backend-protocol" "HTTPS" -}}{{- end -}}
{{- else if and (eq .Values.ingress.flavour "gce") (not .Values.ingress.className) -}}
{{- /* Google's controller goes by the annotation and not by the class. */ -}}
{{- $annotations = dict "kubernetes.io/ingress.class" "gce" -}}
{{- end -}}
{{- include "tidegate.overlay" (dict "into" $annotations "from" .Values.ingress.annotations) -}}
{{- if $annotations -}}{{- toYaml $annotations -}}{{- end -}}
{{- end -}}

{{/* A rule's paths. */}}
{{- define "tidegate.ingressPaths" -}}
http:
  paths:
    - path: {{ .Values.ingress.path }}
      pathType: {{ .Values.ingress.pathType }}
      backend:
        service:
          name: {{ include "tidegate.fullname" . }}
          port:
            name: http
{{- end -}}

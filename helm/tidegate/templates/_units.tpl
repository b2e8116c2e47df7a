{{/*
A duration as the gateway reads it (500ms, 15s, 1h30m) in milliseconds. What is none counts as 0; the
schema and the gateway refuse it.
*/}}
{{- define "tidegate.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- $total := 0 -}}
{{- range regexFindAll "[0-9_]+(ms|s|m|h|d)" (toString .) -1 -}}
{{- $number := regexFind "^[0-9_]+" . | replace "_" "" | atoi -}}
{{- $total = add $total (mul $number (get $units (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- $total -}}
{{- end -}}

{{/* A duration in whole seconds, rounded up. A plain number is seconds. */}}
{{- define "tidegate.seconds" -}}
{{- if regexMatch "^[0-9]+$" (toString .) -}}
{{- . | toString | atoi -}}
{{- else -}}
{{- div (add (include "tidegate.milliseconds" . | atoi) 999) 1000 -}}
{{- end -}}
{{- end -}}

{{/*
A size of the gateway's (256MiB, 1kB) or a quantity of Kubernetes' (1Gi, 512M) in bytes; 0 where it is
none.
*/}}
{{- define "tidegate.bytes" -}}
{{- $units := dict "" 1 "b" 1 "k" 1000 "m" 1000000 "g" 1000000000 "t" 1000000000000 "ki" 1024 "mi" 1048576 "gi" 1073741824 "ti" 1099511627776 -}}
{{- $number := regexFind "^[0-9_]+" (toString .) | replace "_" "" | default "0" | atoi -}}
{{- $unit := regexReplaceAll "^[0-9_]+ *" (toString .) "" | lower -}}
{{- if gt (len $unit) 1 -}}{{- $unit = trimSuffix "b" $unit -}}{{- end -}}
{{- mul $number (get $units $unit | default 0) -}}
{{- end -}}

{{/* Milliseconds as a duration, in seconds where that loses nothing. */}}
{{- define "tidegate.duration" -}}
{{- $milliseconds := . | toString | atoi -}}
{{- if eq 0 (mod $milliseconds 1000) -}}
{{- printf "%ds" (div $milliseconds 1000) -}}
{{- else -}}
{{- printf "%dms" $milliseconds -}}
{{- end -}}
{{- end -}}

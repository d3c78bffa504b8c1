{{- /* host:port of the store. */ -}}
{{- define "checkrein.store.endpoint" -}}
{{- if .Values.minio.enabled -}}
minio.{{ .Release.Namespace }}.svc:9000
{{- else -}}
{{ required "store.endpoint is required: host:port of an S3 service (or minio.enabled=true, for development)" .Values.store.endpoint }}
{{- end }}
{{- end }}

{{- define "checkrein.store.secure" -}}
{{ and .Values.store.secure (not .Values.minio.enabled) }}
{{- end }}

{{- /* The port at which it is reached. */ -}}
{{- define "checkrein.store.port" -}}
{{- $port := include "checkrein.store.endpoint" . | splitList ":" | rest | first -}}
{{ $port | default (ternary "443" "80" (eq (include "checkrein.store.secure" .) "true")) }}
{{- end }}

{{- /* The ConfigMap that holds who vouches for its certificate; empty: the system's authorities do. */ -}}
{{- define "checkrein.store.authorities" -}}
{{- if .Values.store.caBundle -}}
checkrein-store-authorities
{{- else -}}
{{ .Values.store.caConfigMap.name }}
{{- end }}
{{- end }}

{{- /* What no schema can say. */ -}}
{{- define "checkrein.store.validate" -}}
{{- $store := .Values.store -}}
{{- if and .Values.minio.enabled $store.endpoint }}
{{- fail "store.endpoint: leave it empty with minio.enabled=true, or set minio.enabled=false to use an S3 service of your own" }}
{{- end }}
{{- if and $store.caBundle $store.caConfigMap.name }}
{{- fail "store.caBundle and store.caConfigMap.name: set one of the two" }}
{{- end }}
{{- if and (include "checkrein.store.authorities" .) (ne (include "checkrein.store.secure" .) "true") }}
{{- fail "store.caBundle and store.caConfigMap.name vouch for a certificate, and the store has none: set store.secure=true and minio.enabled=false, or leave them empty" }}
{{- end }}
{{- if ne (empty $store.credentials.accessKey) (empty $store.credentials.secretKey) }}
{{- fail "store.credentials: set both accessKey and secretKey, or neither" }}
{{- end }}
{{- if has .Release.Namespace .Values.networkPolicy.workloadNamespaces }}
{{- fail "networkPolicy.workloadNamespaces: the release's own namespace is no place for agents; name those of your teams" }}
{{- end }}
{{- end }}

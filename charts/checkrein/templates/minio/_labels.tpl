{{- define "checkrein.minio.labels" -}}
app.kubernetes.io/name: minio
app.kubernetes.io/part-of: checkrein
{{- end }}

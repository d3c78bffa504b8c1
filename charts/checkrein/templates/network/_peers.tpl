{{- /* Rules and peers that several policies share. */ -}}

{{- define "checkrein.network.dns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- define "checkrein.network.apiServer" -}}
- ports: # by port alone: its address differs from cluster to cluster
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}

{{- define "checkrein.network.store" -}}
- ports:
    - {port: {{ include "checkrein.store.port" . }}, protocol: TCP}
  {{- if .Values.minio.enabled }}
  to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}
      podSelector:
        matchLabels:
          {{- include "checkrein.minio.labels" . | nindent 10 }}
  {{- end }}
{{- end }}

{{- define "checkrein.network.operator" -}}
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}
  podSelector:
    matchLabels:
      {{- include "checkrein.selector" . | nindent 6 }}
{{- end }}

{{- /* Pods that the operator made, in any namespace (checkrein.api.names). */ -}}
{{- define "checkrein.network.ours" -}}
app.kubernetes.io/managed-by: checkrein
{{- end }}

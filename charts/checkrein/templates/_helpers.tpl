{{- /* The operator's name. One operator serves a whole cluster, so nothing is named after the release. */ -}}
{{- define "checkrein.operator" -}}checkrein-operator{{- end }}

{{- /* The operator as the API server knows it. */ -}}
{{- define "checkrein.user" -}}system:serviceaccount:{{ .Release.Namespace }}:{{ include "checkrein.operator" . }}{{- end }}

{{- define "checkrein.selector" -}}
app.kubernetes.io/name: checkrein
app.kubernetes.io/component: operator
{{- end }}

{{- define "checkrein.labels" -}}
{{ include "checkrein.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* One of .Values.images as a reference; takes (list $ "operator"). */ -}}
{{- define "checkrein.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end }}

{{- /* settings.json: checkrein.control.settings.Settings. */ -}}
{{- define "checkrein.settings" -}}
{{- $store := .Values.store -}}
{{- $settings := dict
  "store" (dict
    "endpoint" (required "store.endpoint is required: host:port of an S3 service" $store.endpoint)
    "secure" $store.secure
    "region" $store.region
    "policiesBucket" $store.policiesBucket
    "runsBucket" $store.runsBucket
    "decisionsBucket" $store.decisionsBucket)
  "images" (dict "trainer" (include "checkrein.image" (list . "trainer")) "agent" (include "checkrein.image" (list . "agent")))
  "imagePullPolicy" .Values.images.pullPolicy
  "account" (include "checkrein.user" .)
  "probeTimeoutSeconds" (int .Values.timing.probeTimeout)
  "resyncSeconds" .Values.timing.resync
  "progressSeconds" .Values.timing.progress
  "verifySeconds" .Values.timing.verify
  "tokenKeySeconds" .Values.timing.tokenKey
-}}
{{ $settings | toPrettyJson }}
{{- end }}

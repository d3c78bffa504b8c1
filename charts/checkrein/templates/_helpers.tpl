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

{{- define "checkrein.image.reference" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end }}

{{- /* One of .Values.images as a reference; takes (list $ "operator"). */ -}}
{{- define "checkrein.image" -}}
{{- include "checkrein.image.reference" (list (index . 0) (index (index . 0).Values.images (index . 1))) }}
{{- end }}

{{- /* The pod's security context that Pod Security `restricted` asks for. */ -}}
{{- define "checkrein.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "checkrein.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* settings.json: checkrein.control.settings.Settings. */ -}}
{{- define "checkrein.settings" -}}
{{- $store := .Values.store -}}
{{- $settings := dict
  "store" (dict
    "endpoint" (include "checkrein.store.endpoint" .)
    "secure" (eq (include "checkrein.store.secure" .) "true")
    "privateAuthority" (ne (include "checkrein.store.authorities" .) "")
    "region" $store.region
    "policiesBucket" $store.policiesBucket
    "runsBucket" $store.runsBucket
    "decisionsBucket" $store.decisionsBucket)
  "images" (dict "trainer" (include "checkrein.image" (list . "trainer")) "agent" (include "checkrein.image" (list . "agent")))
  "imagePullPolicy" .Values.images.pullPolicy
  "imagePullSecrets" (include "checkrein.pullSecrets" . | fromJsonArray)
  "account" (include "checkrein.user" .)
  "watchNamespaces" .Values.watchNamespaces
  "probeTimeoutSeconds" (int .Values.timing.probeTimeout)
  "resyncSeconds" .Values.timing.resync
  "progressSeconds" .Values.timing.progress
  "verifySeconds" .Values.timing.verify
  "tokenKeySeconds" .Values.timing.tokenKey
-}}
{{ $settings | toPrettyJson }}
{{- end }}

{{- /* What the operator may do where it works: cluster-wide, or in each of .Values.watchNamespaces. */ -}}
{{- define "checkrein.rules" -}}
# Specs are people's: the operator writes status, and PolicyVersions that did not exist before.
# Its right to read AgentDeployments and PolicyVersions is also what lets it give each agent that right (no escalation).
- apiGroups: [checkrein.dev]
  resources: [rlenvironments, trainingjobs, policyversions, agentdeployments]
  verbs: [get, list, watch]
- apiGroups: [checkrein.dev]
  resources: [rlenvironments/status, trainingjobs/status, policyversions/status, agentdeployments/status]
  verbs: [patch]
- apiGroups: [checkrein.dev]
  resources: [policyversions]
  verbs: [create]
# Owner references with blockOwnerDeletion, where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [checkrein.dev]
  resources: [rlenvironments/finalizers, trainingjobs/finalizers, agentdeployments/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch]
# Store sessions and token keys of its pods; it never lists other people's.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
# A Job whose pods are refused says so in Events only.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, list]
{{- end }}

{{- /* Names, as JSON. */ -}}
{{- define "checkrein.pullSecrets" -}}
{{- $names := list -}}
{{- range .Values.images.pullSecrets }}{{ $names = append $names .name }}{{ end -}}
{{ $names | toJson }}
{{- end }}

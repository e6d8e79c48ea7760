{{- define "mcp-connectors.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mcp-connectors.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "mcp-connectors.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/*
Labels that select the operator's pod. The connectors' NetworkPolicies let the operator in by name and component, so
no value changes these two.
*/}}
{{- define "mcp-connectors.selectorLabels" -}}
app.kubernetes.io/name: mcp-connectors
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "mcp-connectors.labels" -}}
{{ include "mcp-connectors.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{/* Refuses what the operator would refuse: an operator of one namespace sees no other. */}}
{{- define "mcp-connectors.checkNamespaces" -}}
{{- if and .Values.watchNamespace .Values.ignoreNamespaces -}}
{{- fail "watchNamespace and ignoreNamespaces can't be set together: an operator of one namespace sees no other" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the connectors' pods; the operator sets them. */}}
{{- define "mcp-connectors.connectorLabels" -}}
app.kubernetes.io/name: mcp-connector
app.kubernetes.io/managed-by: mcp-connectors
{{- end -}}

{{- define "mcp-connectors.imageSuffix" -}}
{{- if .digest -}}
@{{ .digest }}
{{- else if .tag -}}
:{{ .tag }}
{{- end -}}
{{- end -}}

{{- define "mcp-connectors.repository" -}}
{{- required "image.repository is required: name the repository that the image was pushed to" .Values.image.repository -}}
{{- end -}}

{{- define "mcp-connectors.image" -}}
{{- include "mcp-connectors.repository" . -}}
{{- include "mcp-connectors.imageSuffix" .Values.image | default (printf ":%s" .Chart.AppVersion) -}}
{{- end -}}

{{- define "mcp-connectors.connectorImage" -}}
{{- .Values.connectorImage.repository | default (include "mcp-connectors.repository" .) -}}
{{- include "mcp-connectors.imageSuffix" .Values.connectorImage
    | default (include "mcp-connectors.imageSuffix" .Values.image)
    | default (printf ":%s" .Chart.AppVersion) -}}
{{- end -}}

{{/* All that the operator may do, cluster-wide or in the one namespace that it watches. */}}
{{- define "mcp-connectors.rules" -}}
- apiGroups: [mcp-connectors.io]
  resources: [credentialsources, mcpconnectors]
  verbs: [get, list, watch]
- apiGroups: [mcp-connectors.io]
  resources: [credentialsources/status, mcpconnectors/status]
  verbs: [patch]
# Owner references that block their owner's deletion need this where the admission plugin
# OwnerReferencesPermissionEnforcement is on, as in OpenShift.
- apiGroups: [mcp-connectors.io]
  resources: [mcpconnectors/finalizers]
  verbs: [update]
# ConfigMaps are read because platforms' CA bundles lie in them, Services because a platform in the cluster is let
# through the NetworkPolicy by its selector.
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list, watch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

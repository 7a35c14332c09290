{{- define "bessemer.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "bessemer.serviceAccount" -}}
{{ .Values.serviceAccount.name | default .Release.Name }}
{{- end }}

{{- define "bessemer.selector" -}}
app.kubernetes.io/name: bessemer
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bessemer.labels" -}}
{{ include "bessemer.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "bessemer.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "bessemer.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "bessemer.executorRole" -}}
{{ .Release.Namespace }}-{{ .Release.Name }}-kubernetes-executor
{{- end }}

{{- /* What the role for runners is called in a roleRef: a Role of each namespace where only some are watched. */}}
{{- define "bessemer.executorRoleKind" -}}
{{ if .Values.watchNamespaces }}Role{{ else }}ClusterRole{{ end }}
{{- end }}

{{- /* Puts a policy into force; the third argument says whether only in the namespaces that are watched. */}}
{{- define "bessemer.policyBinding" }}
{{- $root := index . 0 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ index . 1 }}
  labels: {{- include "bessemer.labels" $root | nindent 4 }}
spec:
  policyName: {{ index . 1 }}
  validationActions: [Deny]
  {{- if and (index . 2) $root.Values.watchNamespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: {{ include "bessemer.namespaces" $root }}
  {{- end }}
{{- end }}

{{- /* The namespaces that are watched, as JSON; the operator's own is among them, as its Lease is watched there. */}}
{{- define "bessemer.namespaces" -}}
{{ append .Values.watchNamespaces .Release.Namespace | uniq | sortAlpha | toJson }}
{{- end }}

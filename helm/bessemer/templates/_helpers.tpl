{{- define "bessemer.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* The label app.kubernetes.io/name of all objects. */}}
{{- define "bessemer.name" -}}
{{ .Values.nameOverride | default .Chart.Name }}
{{- end }}

{{- /* The name of most objects, and what the others' names begin with: of 53 characters at most, as Helm's releases. */}}
{{- define "bessemer.fullname" -}}
{{- $name := include "bessemer.name" . }}
{{- $full := .Values.fullnameOverride }}
{{- if not $full }}
{{- $full = contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) }}
{{- fail (printf "fullnameOverride: set it, as %s can't be the name of a Service: a letter, then letters, digits and hyphens" $full) }}
{{- end }}
{{- $full }}
{{- end }}

{{- /* What names of objects of the whole cluster begin with, so that releases in two namespaces share none. */}}
{{- define "bessemer.clusterName" -}}
{{ .Release.Namespace }}-{{ include "bessemer.fullname" . }}
{{- end }}

{{- define "bessemer.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "bessemer.fullname" .) }}
{{- end }}

{{- define "bessemer.selector" -}}
app.kubernetes.io/name: {{ include "bessemer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bessemer.labels" -}}
{{ include "bessemer.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
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
{{ include "bessemer.clusterName" . }}-kubernetes-executor
{{- end }}

{{- /* What the role for runners is called in a roleRef: a Role of each namespace where only some are watched. */}}
{{- define "bessemer.executorRoleKind" -}}
{{ if .Values.watchNamespaces }}Role{{ else }}ClusterRole{{ end }}
{{- end }}

{{- /* The validations of a policy that no switch of policies.allow takes away, as YAML; empty where none is left. */}}
{{- define "bessemer.validations" -}}
{{- $kept := list }}
{{- range index . 1 }}
{{- if not (and .unless (get (index $ 0).Values.policies.allow .unless)) }}
{{- $kept = append $kept (omit . "unless") }}
{{- end }}
{{- end }}
{{- if $kept }}
{{- toYaml $kept }}
{{- end }}
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

{{- /* The number that a quantity of Kubernetes stands for: 0.5 for 500m, 1024 for 1Ki. */}}
{{- define "bessemer.number" -}}
{{- $text := toString . | trimPrefix "+" }}
{{- $suffix := regexFind "([KMGTPE]i|[numkMGTPE])$" $text }}
{{- $factors := dict "" 1 "n" 0.000000001 "u" 0.000001 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 }}
{{- mulf (trimSuffix $suffix $text | float64) (get $factors $suffix | float64) }}
{{- end }}

{{- /* The seconds of a duration such as 30s or 1m. */}}
{{- define "bessemer.seconds" -}}
{{ mul (regexFind "^[0-9]+" .) (hasSuffix "m" . | ternary 60 1) }}
{{- end }}

{{- /* Fails where a request is above its limit: which values these are, the request, the limit. */}}
{{- define "bessemer.checkRequest" }}
{{- $request := index . 1 }}
{{- $limit := index . 2 }}
{{- if and (not (kindIs "invalid" $request)) (not (kindIs "invalid" $limit)) }}
{{- if gt (include "bessemer.number" $request | float64) (include "bessemer.number" $limit | float64) }}
{{- fail (printf "%s: the request %v is above the limit %v" (index . 0) $request $limit) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Labels of the user's, as YAML; fails where one is the chart's: which value these are, the labels. */}}
{{- define "bessemer.ownLabels" -}}
{{- $value := index . 0 }}
{{- range $name, $_ := index . 1 }}
{{- if regexMatch "^(app\\.kubernetes\\.io|helm\\.sh|bessemer\\.dev)/" $name }}
{{- fail (printf "%s: %s is set by the chart or the operator" $value $name) }}
{{- end }}
{{- end }}
{{- toYaml (index . 1) }}
{{- end }}

{{- /* What is reached without the proxy: the given, this container itself, the cluster's Services and the API server. */}}
{{- define "bessemer.noProxy" -}}
{{ concat .Values.proxy.none (list "localhost" "127.0.0.1" "::1" ".svc" ".cluster.local") | uniq | join "," }},$(KUBERNETES_SERVICE_HOST)
{{- end }}

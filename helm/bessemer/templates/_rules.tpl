{{- /* What the operator may do in the namespaces that it watches. A unit test compares these rules with the verbs that the
code uses: neither more nor less. */}}
{{- define "bessemer.operatorRules" }}
- apiGroups: [bessemer.dev]
  resources: [clusterbuilds]
  verbs: [get, list, watch, patch]
- apiGroups: [bessemer.dev]
  resources: [clusterbuilds/status]
  verbs: [patch]
# Set in the owner references of what a build or a pool creates, with blockOwnerDeletion.
- apiGroups: [bessemer.dev]
  resources: [clusterbuilds/finalizers]
  verbs: [update]
- apiGroups: [bessemer.dev]
  resources: [runnerpools]
  verbs: [list, watch, patch]
- apiGroups: [bessemer.dev]
  resources: [runnerpools/status]
  verbs: [patch]
- apiGroups: [bessemer.dev]
  resources: [runnerpools/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, delete]
# Only by name: Secrets are never listed.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
{{- if .Values.runner.watchSecrets }}
# The operator watches by name, but RBAC can't say so: this verb lets its holder hear of every Secret.
- apiGroups: [""]
  resources: [secrets]
  verbs: [watch]
{{- end }}
# Runners that run jobs in separate pods: a ServiceAccount for each pool, bound to the role for runners.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, create]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [get, create]
{{- if .Values.watchNamespaces }}
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles]
  resourceNames: [{{ include "bessemer.executorRole" . }}]
  verbs: [bind]
{{- else }}
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [{{ include "bessemer.executorRole" . }}]
  verbs: [bind]
{{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# The leader watches its own Lease, to know that it still hears anything.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [bessemer-operator]
  verbs: [list, watch]
{{- end }}

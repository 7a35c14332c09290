{{- /* What the operator may do in the namespaces that it watches, from files/roles.yaml: the kinds declare it, and a unit
test compares it with the verbs that the code uses: neither more nor less. A rule may have a condition. */}}
{{- define "bessemer.operatorRules" }}
{{- $namespaced := not (empty .Values.watchNamespaces) }}
{{- $holds := dict "namespaced" $namespaced "clusterWide" (not $namespaced) "watchSecrets" .Values.runner.watchSecrets }}
{{- range (.Files.Get "files/roles.yaml" | fromYaml).watched }}
{{- if or (not .when) (get $holds (.when | default "")) }}
{{ tpl (list (omit . "when") | toYaml) $ }}
{{- end }}
{{- end }}
{{- end }}

"""Permissions that the author of a RunnerPool needs, in addition to reading the objects that it names. Pure."""

from __future__ import annotations

from bessemer.api.admission import Rule, Validation, build_checks, build_may_do, unless
from bessemer.api.fields import ReferenceTo

MOST_SECRETS = 16
"""Maximum number of Secrets in the volumes of one pool, as each needs an authorizer check."""
EXECUTOR_RULES: list[Rule] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "delete"]},
    {"apiGroups": [""], "resources": ["pods/attach", "pods/exec"], "verbs": ["get", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "create", "update", "delete"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "create"]},
    {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "watch"]},
]
"""Permissions of a runner that runs jobs in pods, in the pool's namespace.
Source: https://docs.gitlab.com/runner/executors/kubernetes/#configure-runner-api-permissions"""
VOLUME_SECRETS = (("secret", "secretName"), ("csi", "nodePublishSecretRef", "name"))
"""Fields in which a volume names a Secret, except in projected volumes."""
PROJECTED_SECRET = ("projected", "sources", "secret", "name")
"""The field in which a source of a projected volume names a Secret."""
HIDDEN = r"\\\\[ux\n\r\u0085\u2028\u2029]|!!|!<|%TAG"
"""Syntax that could hide a name in a patch: escape sequences, line continuations within a word, and YAML tags, with
which a name can be written in base64. Escaped for a CEL string.
Source: https://yaml.org/spec/1.1/#id872840 (escapes), #id861060 (line breaks), https://yaml.org/type/binary.html"""
_CONTROL_PLANE = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"]


def _has(value: str, *path: str) -> str:
    return " && ".join(f"has({value}.{'.'.join(path[: end + 1])})" for end in range(len(path)))


def _if_has(*path: str, absent: str) -> str:
    return f"{_has('object.spec', *path)} ? object.spec.{'.'.join(path)} : {absent}"


def _build_volume_secrets() -> str:
    """Return the expression for all Secrets that volumes name. Nested lists are flattened by joining and splitting."""
    plain = [f"variables.volumes.filter(v, {_has('v', *path)}).map(v, v.{'.'.join(path)})" for path in VOLUME_SECRETS]
    projected = (
        "variables.volumes.filter(v, has(v.projected) && has(v.projected.sources))"
        ".map(v, v.projected.sources.filter(s, has(s.secret)).map(s, s.secret.name).join(','))"
        ".join(',').split(',').filter(name, name != '')"
    )
    return " + ".join([*plain, projected])


VARIABLES: list[Rule] = [
    {"name": "volumes", "expression": _if_has("pod", "volumes", absent="[]")},
    {"name": "tolerations", "expression": _if_has("pod", "tolerations", absent="[]")},
    {"name": "settings", "expression": _if_has("executor", "kubernetes", "settings", absent="{}")},
    {"name": "settingsVolumes", "expression": "has(variables.settings.volumes) ? variables.settings.volumes : {}"},
    {"name": "patches", "expression": "has(variables.settings.pod_spec) ? variables.settings.pod_spec : []"},
    {"name": "volumeSecrets", "expression": _build_volume_secrets()},
    {"name": "executor", "expression": "has(object.spec.executor) && has(object.spec.executor.type) "
                                       "? object.spec.executor.type : 'Shell'"},
]  # fmt: skip
"""Variables of the rules below."""


def _off(switch: str, expression: str, message: str) -> list[Validation]:
    remedy = f"an administrator must allow it with the chart's value policies.allow.{switch}"
    return unless(switch, Validation(expression, f"{message}: {remedy}"))


def _build_switches() -> list[Validation]:
    """Return the rules that the administrator can disable."""
    settings = "spec.executor.kubernetes.settings"
    no_patch = (
        "variables.patches.all(p, !has(p.patch_path) && (!has(p.patch) || !p.patch.matches('(?i){}|" + HIDDEN + "')))"
    )
    contexts = "k.endsWith('security_context')"
    return [
        *_off("privileged", "variables.executor != 'Docker'", "spec.executor.type Docker runs a privileged daemon"),
        *_off(
            "privileged",
            "variables.settings.all(k, !k.contains('privileged') || variables.settings[k] == false)",
            f"{settings}: privileged containers are root on the node",
        ),
        *_off(
            "privileged",
            "!has(variables.settings.cap_add) || size(variables.settings.cap_add) == 0",
            f"{settings}.cap_add adds capabilities",
        ),
        *_off(
            "privileged",
            f"variables.settings.all(k, !{contexts} || ((!has(variables.settings[k].privileged) "
            "|| variables.settings[k].privileged == false) && (!has(variables.settings[k].capabilities) "
            "|| !has(variables.settings[k].capabilities.add) "
            "|| size(variables.settings[k].capabilities.add) == 0)))",
            f"{settings}: a security context that is privileged or adds capabilities is root on the node",
        ),
        *_off(
            "privileged",
            no_patch.format("privileged|hostNetwork|hostPID|hostIPC|hostPort|capabilities"),
            f"{settings}.pod_spec patches a field that gives root on the node, or is a file that can't be checked",
        ),
        *_off(
            "hostPath",
            "variables.volumes.all(v, !has(v.hostPath))",
            "spec.pod.volumes: hostPath is the node's own file system",
        ),
        *_off(
            "hostPath",
            "!has(variables.settingsVolumes.host_path) || size(variables.settingsVolumes.host_path) == 0",
            f"{settings}.volumes.host_path is the node's own file system",
        ),
        *_off(
            "hostPath",
            no_patch.format("hostPath"),
            f"{settings}.pod_spec patches hostPath, the node's own file system, or is a file that can't be checked",
        ),
        *_off(
            "systemPriority",
            "!has(object.spec.pod) || !has(object.spec.pod.priorityClassName) "
            "|| !object.spec.pod.priorityClassName.startsWith('system-')",
            "spec.pod.priorityClassName: system-* would evict system pods of the node",
        ),
        *_off(
            "systemPriority",
            "(!has(variables.settings.priority_class_name) "
            "|| !variables.settings.priority_class_name.startsWith('system-')) && "
            + no_patch.format("system-(node|cluster)"),
            f"{settings}: a priority class system-* would evict system pods of the node",
        ),
        *_off(
            "anyNode",
            f"variables.tolerations.all(t, has(t.key) && t.key != '' && !(t.key in {_CONTROL_PLANE}))",
            "spec.pod.tolerations: one without a key, or for the control plane, lets pods run on any node",
        ),
        *_off(
            "anyNode",
            "!has(variables.settings.node_tolerations) || variables.settings.node_tolerations"
            ".all(k, !k.matches('^(=.*|node-role[.]kubernetes[.]io/(control-plane|master)(=.*)?)?$'))",
            f"{settings}.node_tolerations: one without a key, or for the control plane, lets pods run on any node",
        ),
        *_off(
            "anyNode",
            no_patch.format("(^|[^.])nodeName"),  # spec.nodeName also occurs in field references of variables
            f"{settings}.pod_spec patches nodeName, or is a file that can't be checked",
        ),
        *_off(
            "serviceAccountTokens",
            "variables.volumes.all(v, !has(v.projected) || !has(v.projected.sources) "
            "|| v.projected.sources.all(s, !has(s.serviceAccountToken) && !has(s.podCertificate)))",
            "spec.pod.volumes: jobs could use the token of the namespace's ServiceAccount",
        ),
    ]


def build_rules() -> list[Validation]:
    """Return the rules for RunnerPools, except those for the objects that the spec names."""
    secrets = build_checks("volumeSecrets", ReferenceTo("", "secrets"), "spec.pod.volumes", MOST_SECRETS)
    account = (
        "spec.executor.type Kubernetes gives the runner permissions in this namespace, and you must have all of them"
    )
    lower = "matches('^[a-z0-9_-]+$')"
    nested = "k == 'volumes' || k.endsWith('security_context')"
    deeper = "name == 'capabilities' ? variables.settings[k][name].all(kind, kind.{}) : true"
    spelled = Validation(
        f"variables.settings.all(k, k.{lower}) "
        f"&& variables.settings.all(k, {nested} ? variables.settings[k].all(name, name.{lower} "
        f"&& ({deeper.format(lower)})) : true) "
        f"&& variables.patches.all(p, p.all(name, name.{lower}))",
        "spec.executor.kubernetes.settings: write names in lower case, as in GitLab's documentation: gitlab-runner "
        "ignores case, but these rules don't",
    )
    return [
        spelled,
        *_build_switches(),
        *secrets,
        *build_may_do(EXECUTOR_RULES, "variables.executor != 'Kubernetes'", account),
    ]

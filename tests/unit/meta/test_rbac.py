"""The chart's roles allow just the verbs that the code uses: no wildcard, none missing, none to spare."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import yaml

from bessemer.api.base import GROUP
from bessemer.api.wellknown import OWN_KEY_SECRET
from bessemer.kube import protocol
from tests.support.checkout import ROOT

PACKAGE = ROOT / "operator" / "bessemer"
Permission = tuple[str, str, str]
"""Group, resource, verb."""
VERBS = {"get_object": "get", "list_objects": "list", "create_object": "create", "patch_object": "patch",
         "delete_object": "delete", "watch_object": "watch"}  # fmt: skip
UNINSTALL = PACKAGE / "uninstall.py"
WATCHED = {
    ("bessemer.dev", "clusterbuilds", "list"), ("bessemer.dev", "clusterbuilds", "watch"),
    ("bessemer.dev", "runnerpools", "list"), ("bessemer.dev", "runnerpools", "watch"),
    ("", "pods", "list"), ("", "pods", "watch"),
    ("", "resourcequotas", "list"), ("", "resourcequotas", "watch"),
}  # fmt: skip
"""What kopf does for the handlers of the kinds."""
OWN_KINDS = (protocol.CLUSTER_BUILDS, protocol.RUNNER_POOLS)
CALLS_FOR_SEVERAL = {
    "engine/controller: get_object": (protocol.CLUSTER_BUILDS,),  # a cached kind is not read
    "engine/controller: patch_object": OWN_KINDS,
    "engine/objects: create_object": (protocol.PODS, protocol.SECRETS),
    "engine/objects: get_object": (protocol.PODS, protocol.SECRETS),
    "kinds/runnerpool/runner/observe: get_object": (protocol.SERVICE_ACCOUNTS, protocol.ROLE_BINDINGS),
}
"""Calls that are given the kind: the engine's, for the kinds and what is created for them."""
OWNER_REFERENCES = {(GROUP, f"{kind}/finalizers", "update") for kind in ("clusterbuilds", "runnerpools")}
"""Needed by whoever sets blockOwnerDeletion, where that admission plug-in is on."""
BINDING = {("rbac.authorization.k8s.io", kind, "bind") for kind in ("clusterroles", "roles")}
"""Of the one role for runners that run jobs in pods; the operator may not hand out more than is in it."""
OWN_LEASE = {("coordination.k8s.io", "leases", "list"), ("coordination.k8s.io", "leases", "watch")}


def used_permissions() -> set[Permission]:
    """Find every call of a verb of the Kubernetes client in the operator's code (not in the user's command)."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path.parts[len(PACKAGE.parts)] in ("phases", "cli") or path == UNINSTALL:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS):
                continue
            kind = node.args[0]
            for constant in find_kinds(path, node, kind):
                found.add((constant.group, constant.plural + subresource_of(node), VERBS[node.func.attr]))
    return found


def find_kinds(path: Path, call: ast.Call, kind: ast.expr) -> tuple[protocol.Kind, ...]:
    """Return what a call is about: the constant that it names, or what is known of a call for several kinds."""
    if isinstance(kind, ast.Name) and kind.id.isupper():
        return (getattr(protocol, kind.id),)
    assert isinstance(call.func, ast.Attribute)
    where = f"{path.relative_to(PACKAGE).with_suffix('')}: {call.func.attr}"
    assert where in CALLS_FOR_SEVERAL, f"{path}:{call.lineno}: name the kind in the call, so that it is seen here"
    return CALLS_FOR_SEVERAL[where]


def subresource_of(call: ast.Call) -> str:
    """Find the subresource that a call names."""
    for keyword in call.keywords:
        if keyword.arg == "subresource" and isinstance(keyword.value, ast.Constant):
            return f"/{keyword.value.value!s}"
    return ""


def read_template(name: str) -> list[Any]:
    """Read a template of the chart, with all of its branches; other expressions stand only in names and labels."""
    text = (ROOT / "helm" / "bessemer" / "templates" / name).read_text()
    text = re.sub(r"\{\{- /\*.*?\*/\}\}", "", text, flags=re.DOTALL)
    text = re.sub(r"^\s*\{\{-.*\}\}\s*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"(labels|annotations): \{\{.*\}\}", r"\1: {}", text)
    text = re.sub(r"\{\{.*?\}\}", "x", text)
    return list(yaml.safe_load_all(text))


def roles() -> dict[str, list[dict[str, list[str]]]]:
    """Read the rules of the operator: where it watches, and the further ones in its own namespace."""
    (watched,) = read_template("_rules.tpl")
    (own,) = [found["rules"] for found in read_template("rbac.yaml") if found and found["kind"] == "Role"]
    return {"watched": watched, "own": own}


def permissions(rules: list[dict[str, list[str]]], *, named: bool) -> set[Permission]:
    return {
        (group, resource, verb)
        for rule in rules
        if ("resourceNames" in rule) == named
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_roles_allow_what_the_code_uses_and_no_more() -> None:
    used = used_permissions()
    in_own_namespace = {permission for permission in used if permission[1] == "leases"}
    assert permissions(roles()["own"], named=False) == in_own_namespace | {("", "secrets", "create")}
    assert permissions(roles()["own"], named=True) == {("", "secrets", "get")}
    assert [rule["resourceNames"] for rule in roles()["own"] if "resourceNames" in rule] == [[OWN_KEY_SECRET]]
    everywhere = (used - in_own_namespace) | WATCHED | OWNER_REFERENCES
    assert permissions(roles()["watched"], named=False) == everywhere
    assert permissions(roles()["watched"], named=True) == OWN_LEASE | BINDING


def test_no_role_of_the_chart_has_a_wildcard() -> None:
    for path in (ROOT / "helm" / "bessemer" / "templates").glob("*.yaml"):
        for line in path.read_text().splitlines():
            if re.match(r"\s*(- )?(apiGroups|resources|verbs|resourceNames):", line):
                assert "*" not in line, f"{path.name}: {line}"


def test_secrets_are_never_listed() -> None:
    assert ("", "secrets", "list") not in permissions(roles()["watched"], named=False)

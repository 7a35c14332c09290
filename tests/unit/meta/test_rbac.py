"""The chart's roles allow just the verbs that the code uses: no wildcard, none missing, none to spare.

What a kind needs is declared in its folder; the chart's file of rules is generated from it.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer import registry
from bessemer.api.group import GROUP
from bessemer.api.wellknown import OWN_KEY_SECRET
from bessemer.engine.description import Description
from bessemer.kube import protocol
from bessemer.process import build_controllers
from tests.fakes.deps import build_deps
from tests.fakes.watcher import FakeWatcher
from tests.support.checkout import ROOT

PACKAGE = ROOT / "operator" / "bessemer"
CHART = ROOT / "helm" / "bessemer"
Permission = tuple[str, str, str]
"""Group, resource, verb."""
VERBS = {"get_object": "get", "list_objects": "list", "create_object": "create", "patch_object": "patch",
         "delete_object": "delete", "watch_object": "watch", "apply_object": "patch", "read_log": "get"}  # fmt: skip
OWN_KINDS = tuple(kind.resource for kind in registry.KINDS)
CALLS_FOR_SEVERAL: dict[str, tuple[protocol.Kind, ...]] = {
    "engine/controller: get_object": (),  # of kinds that are not cached, see list_watched
    "engine/controller: patch_object": OWN_KINDS,
    "engine/objects: create_object": (protocol.PODS, protocol.SECRETS),
    "engine/objects: get_object": (protocol.PODS, protocol.SECRETS),
    "kinds/runnerpool/runner/observe: get_object": (protocol.SERVICE_ACCOUNTS, protocol.ROLE_BINDINGS),
}
"""Calls that are given the kind: the engine's, for the kinds and what is created for them."""
OWNER_REFERENCES = {(GROUP, f"{kind.plural}/finalizers", "update") for kind in OWN_KINDS}
"""Needed by a client that sets blockOwnerDeletion, where that admission plug-in is on."""
BINDING = {("rbac.authorization.k8s.io", kind, "bind") for kind in ("clusterroles", "roles")}
"""Of the one role for runners that run jobs in pods; the operator may not hand out more than is in it."""
OWN_LEASE = {("coordination.k8s.io", "leases", "list"), ("coordination.k8s.io", "leases", "watch")}


def list_watched(*kinds: Description) -> set[Permission]:
    """List what the engine reads for kinds: the objects and children that are watched, and what is not cached."""
    found = set()
    for controller in build_controllers(build_deps(), FakeWatcher()):
        model = controller.model
        if model.name in {kind.name for kind in kinds}:
            resources = [model.resource, *(child.resource for child in controller.children)]
            found |= {(each.group, each.plural, verb) for each in resources for verb in ("list", "watch")}
            found |= set() if model.cached else {(model.resource.group, model.resource.plural, "get")}
    return found


def used_permissions(folder: Path = PACKAGE) -> set[Permission]:
    """Find every call of a verb of the Kubernetes client in the operator's code (not in the user's command)."""
    found = set()
    for path in folder.rglob("*.py"):
        if path.parts[len(PACKAGE.parts)] in ("phases", "cli", "console") or path.parent.name == "view":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS):
                continue
            kind = node.args[0]
            constants = (protocol.POD_LOGS,) if node.func.attr == "read_log" else find_kinds(path, node, kind)
            for constant in constants:
                resource = (constant.group, constant.plural + subresource_of(node))
                found.add((*resource, VERBS[node.func.attr]))
                if node.func.attr == "apply_object":  # which creates what is not there
                    found.add((*resource, "create"))
    return found


def find_kinds(path: Path, call: ast.Call, kind: ast.expr) -> tuple[protocol.Kind, ...]:
    """Return what a call is about: the constant that it names, or what is known of a call for several kinds."""
    if isinstance(kind, ast.Name) and kind.id.isupper():
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        return (getattr(importlib.import_module(module), kind.id),)
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


def roles() -> dict[str, list[dict[str, list[str]]]]:
    """Read the rules of the operator: where it watches, and the further ones in its own namespace."""
    found: dict[str, list[dict[str, list[str]]]] = yaml.safe_load((CHART / "files" / "roles.yaml").read_text())
    return found


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
    everywhere = (used - in_own_namespace) | list_watched(*registry.KINDS) | OWNER_REFERENCES
    assert permissions(roles()["watched"], named=False) == everywhere
    assert permissions(roles()["watched"], named=True) == OWN_LEASE | BINDING


@pytest.mark.parametrize("kind", registry.KINDS, ids=lambda kind: kind.name)
def test_each_kind_declares_what_it_uses(kind: Description) -> None:
    declared = {
        (permission.resource.group, permission.resource.plural, verb)
        for permission in (*kind.permissions, *kind.own_permissions)
        for verb in permission.verbs
    }
    engine = {(GROUP, kind.plural, "list"), (GROUP, kind.plural, "watch")}
    folder = PACKAGE / "kinds" / kind.singular
    assert (used_permissions(folder) | list_watched(kind)) - engine <= declared


def test_no_role_of_the_chart_has_a_wildcard() -> None:
    rules: list[dict[str, Any]] = [rule for role in roles().values() for rule in role]
    assert "*" not in {word for rule in rules for words in rule.values() for word in words}
    for path in (CHART / "templates").glob("*.yaml"):
        for line in path.read_text().splitlines():
            if re.match(r"\s*(- )?(apiGroups|resources|verbs|resourceNames):", line):
                assert "*" not in line, f"{path.name}: {line}"


def test_secrets_are_never_listed() -> None:
    assert ("", "secrets", "list") not in permissions(roles()["watched"], named=False)

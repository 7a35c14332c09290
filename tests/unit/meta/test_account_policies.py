"""Bessemer's own accounts write what its code writes, and nothing else: the policies' CEL, on what the code renders."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from bessemer.api.clusterbuild.status import NodesStatus
from bessemer.api.phase_contract import PhaseName
from bessemer.engine.ownkey import OwnKey
from bessemer.kinds.clusterbuild.keys import create_keys
from bessemer.kinds.clusterbuild.nodes import carry_over
from bessemer.kinds.clusterbuild.objects import build_input, build_input_config_map, build_phase_pod, build_secret
from bessemer.kinds.clusterbuild.plan import StartAttempt
from bessemer.kinds.runnerpool.render.manifest import (
    build_role_binding,
    build_runner_pod,
    build_runner_secret,
    build_service_account,
)
from bessemer.kube.protocol import Object
from tests.fakes.kubernetes import FakeKubernetes
from tests.support.policies import FILES, evaluate
from tests.unit.kinds.clusterbuild.test_manifest import SETTINGS as BUILD_SETTINGS
from tests.unit.kinds.clusterbuild.test_manifest import build
from tests.unit.kinds.runnerpool.render.test_executors import EXECUTORS, SETTINGS
from tests.unit.kinds.runnerpool.scenes import build_pool, build_spec

OPERATOR_RULES = yaml.safe_load((FILES / "operator-rules.yaml").read_text())
POD_RULES = yaml.safe_load((FILES / "pod-rules.yaml").read_text())
VARIABLES = [{"name": "role", "expression": "'executor-role'"}, {"name": "roleKind", "expression": "'ClusterRole'"}]
START_TIME = datetime(2026, 11, 30, tzinfo=UTC)
START = StartAttempt(PhaseName.BOOT_COMPUTE, 3, "digest")
POOL = build_pool()


def refuse(what: str, new: Object | None, old: Object | None = None, allow: tuple[str, ...] = ()) -> list[str]:
    """Return what the policies for the operator's account answer to a write; ``new`` is None for a deletion."""
    known: Any = new or old
    given = {"object": new, "oldObject": old, "namespace": known["metadata"]["namespace"]}
    variables = [*VARIABLES, *read_own_key_variable()]
    refused = evaluate(OPERATOR_RULES[what]["validations"], variables, given, allow=allow)
    if what == "pods" and new is not None:
        refused += refuse_pod(new, allow)
    return refused


def refuse_pod(pod: Object, allow: tuple[str, ...] = ()) -> list[str]:
    """Return what the policies for pods of Bessemer's accounts answer."""
    return evaluate(POD_RULES["validations"], POD_RULES["variables"], {"object": pod, "oldObject": None}, allow=allow)


def read_own_key_variable() -> list[dict[str, str]]:
    """Read from the chart's template how the operator's own key is known."""
    text = (FILES.parent / "templates" / "operator-policies.yaml").read_text()
    (found,) = re.findall(r"- name: ownKey\n\s+expression: >-\n(.*?)  validations:", text, re.DOTALL)
    return [{"name": "ownKey", "expression": re.sub(r"\{\{.*?\}\}", SYSTEM, found)}]


def change(raw: Object, *path: str | int, to: Any) -> Object:
    """Return an object with one field changed."""
    changed = copy.deepcopy(raw)
    at: Any = changed
    for step in path[:-1]:
        at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
    at[path[-1]] = to
    return changed


def phase_pod() -> Object:
    return build_phase_pod(build(), START, BUILD_SETTINGS, {"data": {"input.json": "{}"}})


def runner_pod(executor: str = "Shell", **fields: Any) -> Object:
    spec = {"executor": EXECUTORS[executor], **fields}
    return build_runner_pod(build_pool(**spec), build_spec(**spec), SETTINGS, 0, "t")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_the_operator_creates_for_pools_is_allowed(executor: str) -> None:
    allow = ("privileged",) if executor == "Docker" else ()
    assert refuse("pods", runner_pod(executor), allow=allow) == []


def test_what_the_operator_creates_beside_pods_is_allowed() -> None:
    settings = SETTINGS.__class__(**{**vars(SETTINGS), "executor_role": "executor-role"})
    cluster = build()
    assert cluster.spec is not None
    nodes = carry_over(cluster.spec, NodesStatus())
    assert refuse("pods", phase_pod()) == []
    assert refuse("secrets", build_secret(cluster, create_keys(with_ssh_key=True))) == []
    assert refuse("secrets", build_runner_secret(POOL, {"a": "b"})) == []
    config_map = build_input_config_map(cluster, build_input(cluster, nodes, START, ""))
    assert refuse("configmaps", config_map) == []
    assert refuse("configmaps", None, config_map) == []
    assert refuse("serviceaccounts", build_service_account(POOL)) == []
    assert refuse("rolebindings", build_role_binding(POOL, settings)) == []


def test_the_operator_changes_and_deletes_only_its_own_pods_and_never_their_spec() -> None:
    pod = runner_pod()
    unlabelled = change(pod, "metadata", "labels", to={})
    foreign = change(change(pod, "metadata", "labels", to={"app": "database"}), "metadata", "ownerReferences", to=[])
    assert refuse("pods", None, unlabelled) == [], "it belongs to a pool all the same"
    assert refuse("pods", change(pod, "metadata", "annotations", "bessemer.dev/job", to="7"), pod) == []
    assert refuse("pods", None, pod) == []
    assert refuse("pods", None, foreign)
    assert refuse("pods", change(foreign, "metadata", "finalizers", to=[]), foreign)
    forged = change(foreign, "metadata", "labels", to={"bessemer.dev/build": "oxygen"})
    assert refuse("pods", change(forged, "metadata", "finalizers", to=[]), forged) == [], "its finalizer is taken off"
    assert refuse("pods", None, forged)
    assert refuse("pods", change(pod, "spec", "containers", 0, "image", to="evil"), pod)


SECRET = build_runner_secret(POOL, {"a": "b"})
SYSTEM = "bessemer"


async def test_the_operators_own_key_is_made_in_its_own_namespace_and_never_changed() -> None:
    kubernetes = FakeKubernetes(now=lambda: START_TIME)
    await OwnKey(kubernetes, SYSTEM).get_seal()
    (key,) = [raw for (plural, _, _), raw in kubernetes.objects.items() if plural == "secrets"]
    assert refuse("secrets", key) == []
    assert refuse("secrets", key, key)
    assert refuse("secrets", change(key, "metadata", "namespace", to="elsewhere"))


@pytest.mark.parametrize(
    "wrong",
    [
        change(SECRET, "type", to="kubernetes.io/service-account-token"),
        change(SECRET, "metadata", "annotations", to={"kubernetes.io/service-account.name": "admin"}),
        change(SECRET, "metadata", "name", to="admin-token"),
        change(
            SECRET, "metadata", "ownerReferences", to=[{"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}]
        ),
    ],
)
def test_the_operator_makes_no_token_of_another_account_and_no_foreign_secret(wrong: Object) -> None:
    assert refuse("secrets", wrong)
    assert refuse("secrets", wrong, wrong)


def test_a_secret_of_someone_else_with_such_a_name_is_not_changed() -> None:
    foreign = change(SECRET, "metadata", "ownerReferences", to=[])
    assert refuse("secrets", SECRET, foreign)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (change(phase_pod(), "spec", "serviceAccountName", to="admin"), "spec.serviceAccountName"),
        (change(phase_pod(), "spec", "automountServiceAccountToken", to=True), "spec.serviceAccountName"),
        (change(phase_pod(), "spec", "hostNetwork", to=True), "spec:"),
        (change(phase_pod(), "spec", "containers", 0, "securityContext", "privileged", to=True), "spec.containers"),
        (change(phase_pod(), "spec", "containers", 0, "ports", to=[{"containerPort": 1, "hostPort": 1}]), "spec:"),
        (
            change(phase_pod(), "spec", "containers", 0, "securityContext", "capabilities", to={"add": ["SYS_ADMIN"]}),
            "spec.containers",
        ),
        (
            change(phase_pod(), "spec", "initContainers", to=[{"name": "x", "securityContext": {"privileged": True}}]),
            "spec.containers",
        ),
        (change(phase_pod(), "spec", "volumes", to=[{"name": "h", "hostPath": {"path": "/"}}]), "spec.volumes"),
        (change(phase_pod(), "spec", "priorityClassName", to="system-node-critical"), "spec.priorityClassName"),
        (change(phase_pod(), "spec", "tolerations", to=[{"operator": "Exists"}]), "spec.tolerations"),
        (change(phase_pod(), "spec", "nodeName", to="control-plane-1"), "spec.nodeName"),
        (
            change(phase_pod(), "spec", "securityContext", "seccompProfile", "type", to="Unconfined"),
            "spec.securityContext",
        ),
        (
            change(
                phase_pod(), "spec", "containers", 0, "securityContext", "appArmorProfile", to={"type": "Unconfined"}
            ),
            "spec.securityContext",
        ),
        (
            change(phase_pod(), "spec", "securityContext", "seLinuxOptions", to={"type": "spc_t"}),
            "spec.securityContext",
        ),
        (
            change(phase_pod(), "spec", "volumes", to=[{"projected": {"sources": [{"serviceAccountToken": {}}]}}]),
            "spec.volumes",
        ),
        (change(phase_pod(), "metadata", "labels", to={}), "metadata.labels"),
        (change(phase_pod(), "metadata", "ownerReferences", to=[]), "metadata.ownerReferences"),
    ],
)
def test_the_operator_creates_no_pod_that_is_more_than_bessemer_needs(wrong: Object, field: str) -> None:
    assert [line for line in refuse("pods", wrong) if line.startswith(field)]


@pytest.mark.parametrize(
    "wrong",
    [
        change({}, "roleRef", to={"kind": "ClusterRole", "name": "cluster-admin"}),
        change({}, "roleRef", to={"kind": "Role", "name": "executor-role"}),
        change({}, "subjects", to=[{"kind": "User", "name": "thief"}]),
        change({}, "subjects", to=[{"kind": "ServiceAccount", "name": "default", "namespace": POOL.namespace}]),
        change({}, "subjects", to=[{"kind": "ServiceAccount", "name": "x-runner", "namespace": "elsewhere"}]),
    ],
)
def test_the_operator_binds_its_one_role_to_accounts_of_runners_only(wrong: Object) -> None:
    settings = SETTINGS.__class__(**{**vars(SETTINGS), "executor_role": "executor-role"})
    right = build_role_binding(POOL, settings)
    assert refuse("rolebindings", right | wrong)
    assert refuse("rolebindings", right, right), "a binding is never changed"


def test_the_operator_makes_no_account_but_those_of_runners() -> None:
    account = build_service_account(POOL)
    assert refuse("serviceaccounts", change(account, "metadata", "name", to="admin"))
    assert refuse("serviceaccounts", account, account)


def test_the_operator_changes_no_spec_of_its_kinds() -> None:
    raw = {"metadata": {"namespace": "lab", "name": "x"}, "spec": {"min": 0}}
    assert refuse("own-kinds", change(raw, "metadata", "finalizers", to=["x"]), raw) == []
    assert refuse("own-kinds", change(raw, "spec", "min", to=1), raw)
    assert refuse("own-kinds", raw), "nor does it create any"


def test_pods_of_jobs_may_be_what_ordinary_pods_are() -> None:
    build = {"name": "build", "securityContext": {"privileged": False, "capabilities": {"add": []}}}
    job: Object = {
        "metadata": {"namespace": "lab", "name": "runner-1-project-1-concurrent-0"},
        "spec": {"containers": [build],
                 "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
                 "volumes": [{"name": "repo", "emptyDir": {}}]},
    }  # fmt: skip
    assert refuse_pod(job) == []
    scheduled = change(job, "spec", "nodeName", to="node1")
    assert refuse_pod(scheduled)
    assert refuse_pod(scheduled, ("anyNode",)) == []
    assert evaluate(POD_RULES["validations"], POD_RULES["variables"], {"object": scheduled, "oldObject": job}) == []
    assert refuse_pod(change(job, "spec", "containers", 0, "securityContext", "privileged", to=True))
    assert (
        refuse_pod(change(job, "spec", "containers", 0, "securityContext", "privileged", to=True), ("privileged",))
        == []
    )
    assert refuse_pod(change(job, "spec", "ephemeralContainers", to=[{"securityContext": {"privileged": True}}]))

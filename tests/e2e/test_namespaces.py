"""Bessemer that looks after some namespaces only: it works there without a right in any other, and leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from local_kubernetes.kubectl import Kubectl, KubectlError
from local_kubernetes.protocol import Cluster
from tests.support.runners import PROJECT, Runners, open_runners
from tests.support.site import SYSTEM_NAMESPACE, install_bessemer, uninstall_bessemer

pytestmark = pytest.mark.e2e

WATCHED, OTHER = "watched", "unwatched"
OPERATOR = f"system:serviceaccount:{SYSTEM_NAMESPACE}:bessemer"
ROLES = "roles,rolebindings"
SILENCE_SECONDS = 15
"""In which a pool that is watched would long have been looked at."""
GONE_SECONDS = 120


@pytest.fixture(scope="module")
def confined(bessemer: Cluster) -> Iterator[Runners]:
    """Return a namespace that alone is watched, with a GitLab in it, beside one that is not."""
    kubectl = Kubectl(bessemer.kubectl, bessemer.kubeconfig, WATCHED)
    uninstall_bessemer(bessemer)
    for name in (WATCHED, OTHER):
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    install_bessemer(bessemer, {"watchNamespaces": f"{{{WATCHED}}}"})
    try:
        with open_runners(bessemer, WATCHED) as runners:
            yield runners
        uninstall_bessemer(bessemer)
        for name in (WATCHED, SYSTEM_NAMESPACE):
            assert Kubectl(bessemer.kubectl, bessemer.kubeconfig, name).items(ROLES) == []
    finally:
        kubectl.run("delete", "namespace", WATCHED, OTHER, timeout=GONE_SECONDS)
        install_bessemer(bessemer)


def may(kubectl: Kubectl, verb: str, resource: str, *where: str) -> bool:
    """Return whether the operator's account may do something."""
    try:
        return kubectl.run("auth", "can-i", verb, resource, f"--as={OPERATOR}", *where).strip() == "yes"
    except KubectlError:
        return False


def test_the_operator_has_no_right_in_the_whole_cluster_or_elsewhere(confined: Runners) -> None:
    kubectl = confined.kubectl
    bindings = kubectl.items("clusterrolebindings")
    subjects = [subject for binding in bindings for subject in binding.get("subjects") or ()]
    assert [found for found in subjects if found.get("namespace") == SYSTEM_NAMESPACE] == []
    for verb, resource in (
        ("get", "secrets"),
        ("create", "pods"),
        ("list", "runnerpools.bessemer.dev"),
        ("list", "pods"),
    ):
        assert may(kubectl, verb, resource, f"--namespace={WATCHED}")
        for elsewhere in (OTHER, "default", "kube-system"):
            assert not may(kubectl, verb, resource, f"--namespace={elsewhere}")
        assert not may(kubectl, verb, resource, "--all-namespaces")
    with pytest.raises(KubectlError, match="forbidden"):
        kubectl.run("get", "secret", "any", f"--namespace={OTHER}", f"--as={OPERATOR}")


def test_a_pool_runs_its_jobs_without_a_right_in_the_whole_cluster(confined: Runners) -> None:
    confined.apply_pool("lab", ["hpc"])
    (job,) = confined.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": ["echo done"]})
    assert confined.wait_for_jobs([job])[job]["status"] == "success"
    confined.wait_until_empty()


def test_the_account_of_runners_gets_a_role_of_its_namespace(confined: Runners) -> None:
    executor = {"type": "Kubernetes", "kubernetes": {"image": "localhost/none"}}
    confined.apply_pool("pods", ["pods"], executor=executor)
    role = confined.kubectl.get("rolebinding", "pods-runner")["roleRef"]
    assert (role["kind"], role["name"]) == ("Role", "bessemer-bessemer-kubernetes-executor")


def test_what_lies_elsewhere_is_not_looked_at(confined: Runners) -> None:
    elsewhere = Kubectl(confined.kubectl.program, confined.kubectl.kubeconfig, OTHER)
    pool = confined.build_pool("lost", ["lost"])
    elsewhere.apply({**pool, "metadata": {"name": "lost", "namespace": OTHER}})
    confined.apply_pool("seen", ["seen"])
    with pytest.raises(TimeoutError):
        elsewhere.wait_for("a status", lambda: elsewhere.get("rp", "lost").get("status"), SILENCE_SECONDS)
    elsewhere.run("delete", "rp", "lost", timeout=GONE_SECONDS)


def test_the_policies_for_authors_hold_where_the_operator_watches(confined: Runners) -> None:
    manifest = confined.build_pool("evil", ["x"])
    manifest["spec"]["pod"] = {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}
    with pytest.raises(KubectlError, match=r"policies\.allow\.hostPath"):
        confined.kubectl.run("create", "--dry-run=server", "-f", "-", given=json.dumps(manifest))

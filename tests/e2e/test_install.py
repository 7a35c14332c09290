"""Bessemer's charts: installed, removed, installed again."""

from __future__ import annotations

import json

import pytest
import yaml

from local_kubernetes.binaries.modules import get_module
from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster
from tests.support.chart.schemas import MONITORING, SERVICE_MONITORS
from tests.support.checkout import ROOT
from tests.support.site import EXAMPLE, SYSTEM_NAMESPACE, install_bessemer, run_helm, uninstall_bessemer

pytestmark = pytest.mark.e2e

CHART = ROOT / "helm" / "bessemer"
OTHER = "metal-two"
"""The namespace of a second release."""
CLUSTER_KINDS = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
GONE_SECONDS = 60
"""For pods to end and to be collected."""
CLAIM_SECONDS = 60
DELETION_SECONDS = 180
"""For a build, whose Cleanup may run, and for its namespace."""


@pytest.fixture
def system(bessemer: Cluster) -> Kubectl:
    return Kubectl(bessemer.kubectl, bessemer.kubeconfig, SYSTEM_NAMESPACE)


def test_the_reference_is_in_the_cluster(system: Kubectl) -> None:
    text = system.run("explain", "clusterbuild.spec.compute.minReady")
    assert "minReady" in text
    assert "percent" in text.lower() or "%" in text
    assert system.run("get", "cb", "--all-namespaces").strip() == ""


def test_an_uninstalled_operator_leaves_only_the_crd_and_can_be_installed_again(
    bessemer: Cluster, system: Kubectl
) -> None:
    uninstall_bessemer(bessemer)
    try:
        system.wait_for(
            "the operator's objects to be gone",
            lambda: list_objects(system) == ["ServiceAccount default"],
            GONE_SECONDS,
            lambda: str(list_objects(system)),
        )
        everywhere = system.run("get", "clusterroles,clusterrolebindings", "-o", "name")
        assert [name for name in everywhere.split() if "bessemer" in name] == []
        assert "clusterbuilds.bessemer.dev" in system.run("get", "crds", "-o", "name"), (
            "builds must not go with a chart"
        )
    finally:
        install_bessemer(bessemer)


def test_uninstalling_while_a_build_is_left_leaves_no_lease_and_the_next_operator_claims_its_machines_again(
    bessemer: Cluster, system: Kubectl
) -> None:
    left = Kubectl(bessemer.kubectl, bessemer.kubeconfig, "left")
    left.run("create", "namespace", "left")
    manifest = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    del manifest["spec"]["ssh"]
    # Its Preflight fails, as nothing is where it looks; a build that gives up would release its machines.
    manifest["spec"]["retries"] = {"phaseAttempts": 10, "backOffSeconds": 10, "maxBackOffSeconds": 10}
    left.apply(manifest)
    left.run("wait", "--for=condition=MachinesClaimed", "clusterbuild", "oxygen", timeout=CLAIM_SECONDS)
    claimed = list_machines(system)
    assert claimed
    try:
        uninstall_bessemer(bessemer)
        system.wait_for(
            "the operator's objects to be gone",
            lambda: list_objects(system) == ["ServiceAccount default"],
            GONE_SECONDS,
            lambda: str(list_objects(system)),
        )
        assert left.get("clusterbuild", "oxygen")["metadata"].get("finalizers", []) == []
    finally:
        install_bessemer(bessemer)
    system.wait_for("them to be claimed again", lambda: list_machines(system) == claimed, CLAIM_SECONDS)
    left.run("delete", "clusterbuild", "oxygen", timeout=DELETION_SECONDS)
    system.wait_for("them to be released", lambda: list_machines(system) == [], CLAIM_SECONDS)
    left.run("delete", "namespace", "left", timeout=DELETION_SECONDS)


def test_another_release_with_every_switch_on_runs_beside_the_first_and_leaves_nothing(
    bessemer: Cluster, system: Kubectl
) -> None:
    other = Kubectl(bessemer.kubectl, bessemer.kubeconfig, OTHER)
    crd = yaml.safe_load((get_module("prometheus-operator", MONITORING) / SERVICE_MONITORS).read_text(encoding="utf-8"))
    system.run("apply", "--server-side", "-f", "-", given=json.dumps(crd))
    system.run("wait", "--for=condition=Established", "crd", crd["metadata"]["name"])
    (operator,) = system.get("deployment", "bessemer")["spec"]["template"]["spec"]["containers"]
    repository, _, tag = operator["image"].rpartition(":")
    values = {
        "image.repository": repository,
        "image.tag": tag,
        "image.pullPolicy": "Never",
        "watchNamespaces": f"{{{OTHER}}}",
        "log.level": "info",
    }
    flags = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    # What the rules for its traffic would have to allow depends on the cluster.
    flags += ["--set-json", "networkPolicy.egress=[]", "--values", str(CHART / "ci" / "everything.yaml")]
    try:
        run_helm(bessemer, "upgrade", "--install", "prod", str(CHART), "--wait", *flags, namespace=OTHER)
        assert other.get("deployment", "prod-metal")["status"]["readyReplicas"] == 3, "by the API server, not the proxy"
        assert (
            other.get("poddisruptionbudget", "prod-metal")["status"]["disruptionsAllowed"] == 2
        )  # half of three, rounded up
        assert other.get("servicemonitor", "prod-metal")["spec"]["endpoints"][0]["port"] == "internal"
        logged = [other.run("logs", pod["metadata"]["name"]) for pod in other.items("pods")]
        lines = [json.loads(line) for log in logged for line in log.splitlines()]
        assert {"time", "level", "logger", "message"} <= set(lines[0])
        assert system.get("deployment", "bessemer")["status"]["readyReplicas"] == 1
    finally:
        run_helm(bessemer, "uninstall", "prod", "--wait", "--ignore-not-found", namespace=OTHER)
        left = system.run("get", CLUSTER_KINDS, "-o", "name").split()
        other.run("delete", "namespace", OTHER, "--ignore-not-found", timeout=DELETION_SECONDS)
        system.run("delete", "crd", crd["metadata"]["name"])
    assert [name for name in left if OTHER in name] == []


def list_machines(system: Kubectl) -> list[str]:
    """Name the Leases of machines."""
    return [found["metadata"]["name"] for found in system.items("leases", "-l", "bessemer.dev/build-uid")]


def list_objects(system: Kubectl) -> list[str]:
    kinds = "deployments,pods,services,serviceaccounts,roles,rolebindings,leases,jobs"
    return [f"{found['kind']} {found['metadata']['name']}" for found in system.items(kinds)]

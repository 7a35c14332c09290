"""Bessemer's charts: installed, removed, installed again."""

from __future__ import annotations

import pytest

from tests.support.cluster.protocol import Cluster
from tests.support.kubectl import Kubectl
from tests.support.site import SYSTEM_NAMESPACE, install_bessemer, uninstall_bessemer

pytestmark = pytest.mark.e2e

GONE_SECONDS = 60
"""For pods to end and to be collected."""


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


def list_objects(system: Kubectl) -> list[str]:
    kinds = "deployments,pods,services,serviceaccounts,roles,rolebindings,leases,jobs"
    return [f"{found['kind']} {found['metadata']['name']}" for found in system.items(kinds)]

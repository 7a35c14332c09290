"""The mark that we leave in every cluster we make, and without which no test touches a cluster."""

from typing import Any

from tests.support.cluster.errors import ClusterError
from tests.support.cluster.kubectl import Kubectl

NAMESPACE = "kube-public"
NAME = "bessemer-test-cluster"


def build_marker(cluster: str) -> dict[str, Any]:
    """Build the ConfigMap that marks a cluster as made for tests."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "data": {"cluster": cluster, "purpose": "Bessemer's tests may change and delete everything here."},
    }


def apply_marker(kubectl: Kubectl, cluster: str) -> None:
    """Mark a cluster as ours."""
    kubectl.apply(build_marker(cluster))


def require_marker(kubectl: Kubectl) -> None:
    """Raise ClusterError unless the cluster carries our mark."""
    try:
        kubectl.get("configmap", NAME, "--namespace", NAMESPACE)
    except ClusterError as error:
        raise ClusterError(
            f"the cluster of {kubectl.kubeconfig} was not made for Bessemer's tests (it shows no ConfigMap "
            f"{NAMESPACE}/{NAME}): refused"
        ) from error

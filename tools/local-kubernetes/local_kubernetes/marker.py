"""The mark that we leave in every cluster we make, and without which no test touches a cluster."""

from pathlib import Path
from typing import Any

from local_kubernetes.errors import ClusterError
from local_kubernetes.kubectl import Kubectl, KubectlError

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


def apply_marker(program: Path, kubeconfig: Path, cluster: str) -> None:
    """Mark a cluster as ours."""
    Kubectl(program, kubeconfig, NAMESPACE).apply(build_marker(cluster))


def require_marker(program: Path, kubeconfig: Path) -> None:
    """Raise ClusterError unless the cluster carries our mark."""
    try:
        Kubectl(program, kubeconfig, NAMESPACE).get("configmap", NAME)
    except KubectlError as error:
        raise ClusterError(
            f"the cluster of {kubeconfig} was not made for Bessemer's tests (it shows no ConfigMap "
            f"{NAMESPACE}/{NAME}): refused"
        ) from error

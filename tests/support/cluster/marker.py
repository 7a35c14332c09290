"""The mark that we leave in every cluster we make, and without which no test touches a cluster."""

import json
from pathlib import Path

from tests.support.cluster.commands import run
from tests.support.cluster.errors import ClusterError

NAMESPACE = "kube-public"
NAME = "bessemer-test-cluster"


def build_marker(cluster: str) -> str:
    """Build the ConfigMap that marks a cluster as made for tests."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "data": {"cluster": cluster, "purpose": "Made by Bessemer's tests, for them: everything in it may be deleted."},
        }
    )


def apply_marker(kubectl: Path, kubeconfig: Path, cluster: str, scratch: Path) -> None:
    """Mark a cluster as ours."""
    manifest = scratch / "marker.json"
    manifest.write_text(build_marker(cluster))
    run([kubectl, "--kubeconfig", kubeconfig, "apply", "-f", manifest])


def require_marker(kubectl: Path, kubeconfig: Path) -> None:
    """Raise ClusterError unless the cluster carries our mark."""
    try:
        run([kubectl, "--kubeconfig", kubeconfig, "--namespace", NAMESPACE, "get", "configmap", NAME])
    except ClusterError as error:
        raise ClusterError(
            f"the cluster of {kubeconfig} was not made for Bessemer's tests (no ConfigMap {NAMESPACE}/{NAME}): refused"
        ) from error

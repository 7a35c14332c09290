"""A cluster made by kind, in containers of Docker or Podman (https://kind.sigs.k8s.io).

Not run where no container engine is to be had; the commands are those of kind's own user guide.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.binaries.components import KUBERNETES_RELEASES
from tests.support.cluster.commands import run
from tests.support.cluster.errors import ClusterError, announce
from tests.support.cluster.marker import apply_marker
from tests.support.cluster.storage import get_cache_directory

CREATE_SECONDS = 600
"""kind first pulls a node image of about 400 MB."""


@dataclass(frozen=True)
class KindCluster:
    """A cluster of one container."""

    name: str
    engine: str
    """`docker` or `podman`."""
    kubeconfig: Path
    kubectl: Path

    def load_image(self, archive: Path) -> None:
        """Import an image archive into the node's containerd."""
        run_kind(self.engine, "load", "image-archive", str(archive), "--name", self.name)

    def down(self) -> None:
        """Remove the containers, and the kubeconfig."""
        run_kind(self.engine, "delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig))
        self.kubeconfig.unlink(missing_ok=True)


def create_kind(name: str, *, engine: str, kube_minor: str, kubectl: Path) -> KindCluster:
    """Give the running cluster of that name, made when there is none."""
    cluster = KindCluster(name, engine, get_cache_directory() / "kind" / f"{name}.conf", kubectl)
    if name in list_kind(engine):
        return get_kind(name, engine=engine, kubectl=kubectl)
    announce(f"creating cluster {name} with kind on {engine}; its node image is pulled first when it is not there")
    cluster.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    image = f"kindest/node:v{KUBERNETES_RELEASES[kube_minor]}"
    options = ["--image", image, "--kubeconfig", str(cluster.kubeconfig), "--wait", "120s"]
    run_kind(engine, "create", "cluster", "--name", name, *options)
    apply_marker(kubectl, cluster.kubeconfig, name)
    return cluster


def get_kind(name: str, *, engine: str, kubectl: Path) -> KindCluster:
    """Find a running cluster by name, and write its kubeconfig anew. Raises ClusterError when there is none."""
    if name not in list_kind(engine):
        raise ClusterError(f"kind has no cluster {name}; make one with: make cluster-up")
    kubeconfig = get_cache_directory() / "kind" / f"{name}.conf"
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    run_kind(engine, "export", "kubeconfig", "--name", name, "--kubeconfig", str(kubeconfig))
    return KindCluster(name, engine, kubeconfig, kubectl)


def list_kind(engine: str) -> list[str]:
    """List the clusters that kind has."""
    return run_kind(engine, "get", "clusters").split()


def run_kind(engine: str, *words: str) -> str:
    """Run kind on the chosen engine."""
    return run(["kind", *words], timeout=CREATE_SECONDS, environment={"KIND_EXPERIMENTAL_PROVIDER": engine})

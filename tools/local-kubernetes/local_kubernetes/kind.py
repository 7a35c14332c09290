"""A cluster made by kind, in containers of Docker or Podman (https://kind.sigs.k8s.io).

Never run yet: written where no container engine is to be had, from kind's user guide.
"""

from dataclasses import dataclass
from pathlib import Path

from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.marker import apply_marker
from local_kubernetes.storage import get_cache_directory

NODE_IMAGES = {"1.37": "kindest/node:v1.37.0", "1.34": "kindest/node:v1.34.0"}
"""The node image that the kind of each Kubernetes release names as its default (pkg/apis/config/defaults/image.go)."""
CONFIGURATION = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
kubeadmConfigPatches:
  - |
    kind: KubeletConfiguration
    apiVersion: kubelet.config.k8s.io/v1beta1
    failCgroupV1: false
"""
"""From Kubernetes 1.35 on the kubelet ends on a host with cgroup v1 unless it is told otherwise.

Source: https://kind.sigs.k8s.io/docs/user/configuration/#kubeadm-config-patches
"""
CREATE_SECONDS = 600
"""kind first pulls a node image of about 400 MB."""


@dataclass(frozen=True)
class Kind:
    """kind on one container engine."""

    engine: str
    """`docker` or `podman`."""
    program: Path
    kubectl: Path

    def run(self, *words: str) -> str:
        """Run kind and return its output."""
        return run(
            [self.program, *words], timeout=CREATE_SECONDS, environment={"KIND_EXPERIMENTAL_PROVIDER": self.engine}
        )

    def list_clusters(self) -> list[str]:
        """List the clusters that kind has."""
        return self.run("get", "clusters").split()


@dataclass(frozen=True)
class KindCluster:
    """A cluster of one container."""

    name: str
    kind: Kind

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of its own; the user's is left alone."""
        return get_cache_directory() / "kind" / f"{self.name}.conf"

    @property
    def kubectl(self) -> Path:
        """A kubectl that fits."""
        return self.kind.kubectl

    def load_image(self, archive: Path) -> None:
        """Import an image archive into the node's containerd."""
        self.kind.run("load", "image-archive", str(archive), "--name", self.name)

    def down(self) -> None:
        """Remove the containers, and the kubeconfig."""
        self.kind.run("delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig))
        self.kubeconfig.unlink(missing_ok=True)


def create_kind(name: str, kind: Kind, *, kube_minor: str) -> KindCluster:
    """Give the running cluster of that name, made when there is none."""
    if name in kind.list_clusters():
        return get_kind(name, kind)
    announce(f"creating cluster {name} with kind on {kind.engine}; its node image is pulled first when it is not there")
    cluster = KindCluster(name, kind)
    cluster.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    configuration = cluster.kubeconfig.with_suffix(".yaml")
    configuration.write_text(CONFIGURATION)
    options = ["--image", NODE_IMAGES[kube_minor], "--kubeconfig", str(cluster.kubeconfig), "--wait", "120s"]
    options += ["--config", str(configuration)]
    kind.run("create", "cluster", "--name", name, *options)
    apply_marker(kind.kubectl, cluster.kubeconfig, name)
    return cluster


def get_kind(name: str, kind: Kind) -> KindCluster:
    """Find a running cluster by name, and write its kubeconfig anew. Raises ClusterError when there is none."""
    if name not in kind.list_clusters():
        raise ClusterError(f"kind has no cluster {name}; make one with: make cluster-up")
    cluster = KindCluster(name, kind)
    cluster.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    kind.run("export", "kubeconfig", "--name", name, "--kubeconfig", str(cluster.kubeconfig))
    return cluster

"""A cluster made by kind, in containers of Docker or Podman (https://kind.sigs.k8s.io)."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.local.processes import ProcessIdentity
from local_kubernetes.marker import apply_marker
from local_kubernetes.storage import get_cache_directory, locked

NODE_IMAGES = {"1.37": "docker.io/kindest/node:v1.37.0", "1.34": "docker.io/kindest/node:v1.34.0"}
"""The node image that the kind of each Kubernetes release names as its default (pkg/apis/config/defaults/image.go).

With the registry: Podman does not look for a name without one at Docker's.
"""
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
COPY_SECONDS = 60


class KindRecord(BaseModel):
    """The creator of a cluster, so that the next process can remove clusters of killed processes."""

    name: str
    engine: str
    """`docker` or `podman`."""
    creator: ProcessIdentity
    kept: bool
    """Whether it outlives its creator."""

    @property
    def file(self) -> Path:
        """Where this is written: within the cache, which a container engine of our own has a part of to itself."""
        return get_kind_directory() / f"{self.name}.json"

    @property
    def kubeconfig(self) -> Path:
        """A separate kubeconfig; the user's is not changed."""
        return self.file.with_suffix(".conf")

    def is_abandoned(self) -> bool:
        """Return whether no process will use or remove it any more."""
        return not self.kept and not self.creator.is_running()


@dataclass(frozen=True)
class Kind:
    """kind on one container engine."""

    engine: str
    """`docker` or `podman`."""
    program: Path
    kubectl: Path
    """Copied from a node if missing, because building it would mean building Kubernetes."""

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

    record: KindRecord
    kind: Kind

    @property
    def name(self) -> str:
        """Its name, unique on its engine."""
        return self.record.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.record.kubeconfig

    @property
    def kubectl(self) -> Path:
        """A kubectl that fits."""
        return self.kind.kubectl

    def load_image(self, archive: Path) -> None:
        """Import an image archive into the node's containerd."""
        self.kind.run("load", "image-archive", str(archive), "--name", self.name)

    def down(self) -> None:
        """Remove the containers, the kubeconfig and the record."""
        delete_kind(self.record, self.kind)


def get_kind_directory() -> Path:
    """Return the folder of records, configurations and kubeconfigs of kind's clusters."""
    return get_cache_directory() / "kind"


def list_kind_records() -> list[KindRecord]:
    """List the clusters that this package made with kind, alive or not."""
    return [KindRecord.model_validate_json(path.read_text()) for path in sorted(get_kind_directory().glob("*.json"))]


def get_kind_record(name: str) -> KindRecord | None:
    """Find a cluster by name."""
    return next((record for record in list_kind_records() if record.name == name), None)


def create_kind(name: str, kind: Kind, *, kube_minor: str, kept: bool) -> KindCluster:
    """Return the running cluster of that name; created if kind does not have it. A kept one outlives this process.

    Raises ClusterError if it did not start; nothing of it is left then.
    """
    creator = ProcessIdentity.get(os.getpid())
    if creator is None:
        raise ClusterError("/proc does not show our own process: is it mounted?")
    record = KindRecord(name=name, engine=kind.engine, creator=creator, kept=kept)
    cluster = KindCluster(record, kind)
    with locked(get_kind_directory() / "lock"):
        sweep_locked({kind.engine: kind})
        if name in kind.list_clusters():
            return get_kind(name, kind)
        record.file.write_text(record.model_dump_json())
    announce(f"creating a cluster with kind on {kind.engine}")
    configuration = record.file.with_suffix(".yaml")
    configuration.write_text(CONFIGURATION)
    options = ["--image", NODE_IMAGES[kube_minor], "--kubeconfig", str(record.kubeconfig), "--wait", "120s"]
    try:
        kind.run("create", "cluster", "--name", name, "--config", str(configuration), *options)
        if not kind.kubectl.exists():
            copy_kubectl(name, kind)
        apply_marker(kind.kubectl, record.kubeconfig, name)
    except BaseException:  # Ctrl-C included: nothing may be left of half a cluster
        cluster.down()
        raise
    return cluster


def copy_kubectl(name: str, kind: Kind) -> None:
    """Copy kubectl out of a cluster's node."""
    kind.kubectl.parent.mkdir(parents=True, exist_ok=True)
    partial, node = kind.kubectl.with_suffix(".partial"), f"{name}-control-plane"
    # The path without links, which Docker's `cp` would copy as such and Podman's has no option for.
    source = run([kind.engine, "exec", node, "readlink", "--canonicalize", "/usr/bin/kubectl"]).strip()
    run([kind.engine, "cp", f"{node}:{source}", partial], timeout=COPY_SECONDS)
    partial.rename(kind.kubectl)


def get_kind(name: str, kind: Kind) -> KindCluster:
    """Return a running cluster by name, and write its kubeconfig again. Raises ClusterError if there is none."""
    record = get_kind_record(name)
    if record is None or name not in kind.list_clusters():
        raise ClusterError(
            f"kind has no cluster {name} that local-kubernetes created; create one with: local-kubernetes up {name}"
        )
    kind.run("export", "kubeconfig", "--name", name, "--kubeconfig", str(record.kubeconfig))
    return KindCluster(record, kind)


def delete_kind(record: KindRecord, kind: Kind) -> None:
    """Remove a cluster's containers, then its files."""
    kind.run("delete", "cluster", "--name", record.name, "--kubeconfig", str(record.kubeconfig))
    for file in (record.kubeconfig, record.file.with_suffix(".yaml"), record.file):
        file.unlink(missing_ok=True)


def sweep_locked(kinds: dict[str, Kind]) -> list[str]:
    """Remove the clusters of dead processes on some engines, by name of the engine; return their names.

    Called with the records locked. What an engine refuses is left for the next time.
    """
    removed = []
    for record in list_kind_records():
        if record.is_abandoned() and record.engine in kinds:
            announce(f"removing what is left of kind's cluster {record.name}: no process uses it any more")
            with contextlib.suppress(ClusterError):
                delete_kind(record, kinds[record.engine])
                removed.append(record.name)
    return removed

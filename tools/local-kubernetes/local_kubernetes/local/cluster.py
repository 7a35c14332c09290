"""Bring up, adopt, use and remove local clusters."""

import os
from dataclasses import dataclass
from pathlib import Path

from local_kubernetes.binaries.build import get_binaries
from local_kubernetes.binaries.components import CONTAINERD, COREDNS, ETCD, build_kubernetes
from local_kubernetes.binaries.packages import install_packages
from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.kubectl import Kubectl
from local_kubernetes.local.network import decide_index
from local_kubernetes.local.node import start_node
from local_kubernetes.local.processes import ProcessIdentity
from local_kubernetes.local.readiness import is_healthy, wait_until_ready
from local_kubernetes.local.registry import (
    ClusterRecord,
    apply_record,
    get_clusters_directory,
    get_record,
    list_records,
    registry_locked,
    require_root,
)
from local_kubernetes.local.remains import delete_cluster, sweep_locked
from local_kubernetes.local.routes import list_links, list_routes
from local_kubernetes.marker import apply_marker

LOAD_SECONDS = 300
"""For the largest image archive on a slow disk."""


@dataclass(frozen=True)
class LocalCluster:
    """A running local cluster."""

    record: ClusterRecord
    programs: dict[str, Path]
    """Component to the folder of its programs."""

    @property
    def name(self) -> str:
        """Its name, unique on this machine."""
        return self.record.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, which works from the machine and from inside."""
        return self.record.kubeconfig

    @property
    def kubectl(self) -> Path:
        """The kubectl of the cluster's own version."""
        return self.programs["kubernetes"] / "kubectl"

    def load_image(self, archive: Path) -> None:
        """Import an image archive into containerd, within the cluster's namespaces."""
        node = self.get_node()
        enter = ["nsenter", "--target", str(node.pid), "--net", "--mount", "--pid", "--wd=/"]
        with archive.open("rb") as content:  # by standard input: /run is another one in there
            run(
                [*enter, self.programs["containerd"] / "ctr", "--namespace", "k8s.io", "images", "import", "-"],
                stdin=content,
                timeout=LOAD_SECONDS,
            )

    def get_node(self) -> ProcessIdentity:
        """Identify process 1 of the cluster's namespaces. Raises ClusterError when the cluster does not run."""
        node = self.record.get_inner_process()
        if node is None:
            raise ClusterError(f"cluster {self.name} does not run any more; start it again")
        return node

    def down(self) -> None:
        """Remove the cluster and everything of it."""
        down(self.name)


def get_programs(kube_minor: str) -> dict[str, Path]:
    """Return the folders of all programs a cluster runs, building what is not cached."""
    components = (build_kubernetes(kube_minor), ETCD, CONTAINERD, COREDNS)
    return {component.name: get_binaries(component) for component in components}


def up(name: str, *, kube_minor: str, kept: bool) -> LocalCluster:
    """Return the running cluster of that name: the one there is when it is well, else a new one.

    `kept`: it outlives this process. Otherwise the next `up`, `down` or `sweep` after this process' end removes it.
    Raises ClusterError when it did not come up; nothing is left of it then.
    """
    require_root()  # first of all, before building for minutes
    install_packages()
    programs = get_programs(kube_minor)
    with registry_locked():
        sweep_locked()
        existing = get_record(name)
        if existing is not None:
            cluster = LocalCluster(existing, programs)
            if existing.kube_minor == kube_minor and is_healthy(existing):
                return keep(cluster) if kept else cluster
            if not existing.ready:
                raise ClusterError(f"cluster {name} is just being made by process {existing.creator.pid}")
            announce(f"cluster {name} is not healthy, or has another version than {kube_minor}: it is recreated")
            delete_cluster(existing)
        record = create_record(name, kube_minor=kube_minor, kept=kept)
    cluster = LocalCluster(record, programs)
    kubectl = Kubectl(cluster.kubectl, record.kubeconfig, "default")
    try:
        start_node(record, list(programs.values()))
        wait_until_ready(record, kubectl)
        apply_marker(cluster.kubectl, record.kubeconfig, name)
    except BaseException:  # Ctrl-C included: nothing may be left of half a cluster
        down(name)
        raise
    ready = record.model_copy(update={"ready": True})
    with registry_locked():
        apply_record(ready)
    return LocalCluster(ready, programs)


def keep(cluster: LocalCluster) -> LocalCluster:
    """Make an adopted cluster outlive its creator. Called with the registry locked."""
    record = cluster.record.model_copy(update={"kept": True})
    apply_record(record)
    return LocalCluster(record, cluster.programs)


def create_record(name: str, *, kube_minor: str, kept: bool) -> ClusterRecord:
    """List a new cluster under a free index. Called with the registry locked."""
    creator = ProcessIdentity.get(os.getpid())
    if creator is None:
        raise ClusterError("/proc does not show our own process: is it mounted?")
    record = ClusterRecord(
        name=name,
        index=decide_index([record.index for record in list_records()], list_routes(), list_links()),
        directory=get_clusters_directory() / name,
        kube_minor=kube_minor,
        creator=creator,
        kept=kept,
    )
    apply_record(record)
    return record


def down(name: str) -> bool:
    """Remove the cluster of that name, and any abandoned one; return whether there was one."""
    with registry_locked():
        record = get_record(name)
        if record is not None:
            delete_cluster(record)
        sweep_locked()
    return record is not None

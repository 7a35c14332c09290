"""What a machine shows of local clusters: taken before and after, so that tests can compare."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError
from local_kubernetes.local.loop_devices import list_loop_devices
from local_kubernetes.local.processes import ProcessIdentity
from local_kubernetes.local.registry import (
    MOUNT_POINTS,
    REGISTRY,
    SYSCTL_ROOT,
    SYSCTLS,
    ClusterRecord,
    get_clusters_directory,
    get_record,
    list_records,
)
from local_kubernetes.local.routes import list_links

NAMESPACE_KINDS = ("net", "mnt", "pid", "ipc", "uts")


PLACES = (*MOUNT_POINTS, REGISTRY, *map(Path, ("/opt/containerd", "/run/containerd", "/run/nri", "/run/netns")))
"""Folders outside its own that components of a cluster use or would use."""
LINKS = ("kc", "veth", "cni")
"""How the names of links begin that a cluster, its CNI plugins or kube-proxy make."""


@dataclass(frozen=True)
class MachineState:
    """Everything of the machine that a cluster changes and that has no owner by which the kernel would remove it."""

    links: frozenset[str]
    routes: frozenset[str]
    nft_rules: str
    mounts: frozenset[str]
    cgroups: frozenset[str]
    loop_devices: frozenset[tuple[str, str, int]]
    """Name and file of those that do not detach by themselves."""
    sysctls: tuple[str, ...]
    folders: frozenset[Path]

    def shows_nothing_beyond(self, before: "MachineState") -> bool:
        """Return whether everything is as it was; loop devices of others may have gone, as they show no owner."""
        alike = replace(self, loop_devices=frozenset()) == replace(before, loop_devices=frozenset())
        return alike and self.loop_devices <= before.loop_devices


def get_machine_state(names: str) -> MachineState:
    """Look at the machine, past all clusters but those whose name begins with `names`: others may come and go."""
    others = [record for record in list_records() if not record.name.startswith(names)]
    links = {name for name in list_links() if name.startswith(LINKS)} - {other.network.host_link for other in others}
    cgroups = set(Path("/sys/fs/cgroup").glob("**/kc[0-9]"))
    folders = {*PLACES, *get_clusters_directory().glob("*"), *REGISTRY.glob("cluster-*")}
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    parents = (*PLACES, get_clusters_directory())
    return MachineState(
        links=frozenset(links),
        routes=frozenset(route for route in run(["ip", "-4", "route"]).splitlines() if set(route.split()) & links),
        nft_rules=run(["nft", "--stateless", "list", "ruleset"]),
        mounts=frozenset(mount for mount in mounts if any(Path(mount).is_relative_to(parent) for parent in parents)),
        cgroups=frozenset(str(path) for path in cgroups if path.name not in {other.network.cgroup for other in others}),
        loop_devices=frozenset(
            (device.path.name, device.file_system, device.inode)
            for device in list_loop_devices()
            if not device.autoclear
        ),
        sysctls=tuple((SYSCTL_ROOT / name).read_text() for name in SYSCTLS),
        folders=frozenset(path for path in folders - set(list_own_folders(others)) if path.exists()),
    )


def list_own_folders(records: Iterable[ClusterRecord]) -> Iterator[Path]:
    """List the folders and files that lie on the machine for some clusters."""
    for record in records:
        yield record.directory
        yield REGISTRY / f"cluster-{record.name}.json"


@dataclass(frozen=True)
class ClusterParts:
    """What a cluster consisted of while it ran, and should not when it is gone."""

    processes: set[ProcessIdentity]
    namespaces: set[str]

    def list_alive(self) -> list[str]:
        """List what is still there of it."""
        processes = [f"process {process.pid}" for process in self.processes if process.is_running()]
        return processes + sorted(self.namespaces & list_namespaces())


def get_cluster_parts(name: str, machine_namespaces: set[str]) -> ClusterParts:
    """Look at a running cluster; namespaces that the machine had before are not the cluster's."""
    record = get_record(name)
    outer = record.get_outer_process() if record else None
    if outer is None:
        raise ClusterError(f"cluster {name} does not run")
    processes = list_descendants(outer)
    return ClusterParts(processes, list_namespaces(processes) - machine_namespaces)


def list_descendants(process: ProcessIdentity) -> set[ProcessIdentity]:
    """Identify a process and its descendants; from a cluster's outer process on, that is the whole cluster."""
    found = {process}
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    for file in children:
        with contextlib.suppress(OSError):  # the thread ended meanwhile
            for pid in file.read_text().split():
                child = ProcessIdentity.get(int(pid))
                found |= list_descendants(child) if child else set()
    return found


def list_namespaces(processes: set[ProcessIdentity] | None = None) -> set[str]:
    """List the namespaces (`net:[4026531840]`) of some processes, or of all of the machine."""
    pids = [process.pid for process in processes] if processes is not None else list_pids()
    namespaces: set[str] = set()
    for pid in pids:
        for kind in NAMESPACE_KINDS:
            with contextlib.suppress(OSError):  # the process ended meanwhile
                namespaces.add(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
    return namespaces


def list_pids() -> list[int]:
    """List the processes of the machine."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]

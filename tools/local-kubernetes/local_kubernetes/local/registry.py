"""The records of local clusters on this machine, so that the next process can remove what a dead owner left.

Invariants: the registry lies in /run, so it lives as long as what it lists (until reboot); a cluster is listed before
anything of it exists and until everything of it is gone; every change is made under the registry's lock.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from local_kubernetes.errors import ClusterError
from local_kubernetes.local.loop_devices import list_loop_device_names
from local_kubernetes.local.network import ClusterNetwork
from local_kubernetes.local.processes import ProcessIdentity
from local_kubernetes.storage import get_cache_directory, locked

REGISTRY = Path("/run/bessemer-clusters")
ENGINE_MARK = Path("/run/bessemer-engine")
"""Is there in an engine's namespaces, which share the cache with the machine and don't see its registry."""

SYSCTL_ROOT = Path("/proc/sys")
KUBELET_SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys")
"""What a kubelet sets for the whole machine (its container manager's setupKernelTunables)."""
SYSTEMD_SYSCTLS = ("fs/file-max", "fs/nr_open")
"""What systemd raises for the whole machine when it is process 1, as in kind's nodes (its main.c)."""
SYSCTLS = (*KUBELET_SYSCTLS, *SYSTEMD_SYSCTLS)
MOUNT_POINTS = (Path("/var/lib/kubelet"), Path("/var/lib/cni"))
"""Folders that components insist on; made when missing, as mount points only."""


class MachineBaseline(BaseModel):
    """What the machine was like before what uses it changed it."""

    sysctls: dict[str, str]
    """Those that a listed use of the machine changes."""
    made_mount_points: list[Path]
    loop_devices: list[str]
    """Loop devices that were attached before, which are not ours."""


class MachineUse(BaseModel):
    """A use of the machine in separate namespaces."""

    prefix: ClassVar[str]
    """How the names of the registry's files of this kind begin."""
    sysctls: ClassVar[tuple[str, ...]]
    """What it changes of the machine's settings."""
    name: str
    directory: Path
    creator: ProcessIdentity
    """Who made it: it goes when its creator is gone, unless it is kept."""

    @property
    def cgroup(self) -> str:
        """Name of its cgroup, under the root of each hierarchy."""
        raise NotImplementedError

    def get_outer_process(self) -> ProcessIdentity | None:
        """Identify the process on the machine's side, which wrote itself down first of all; None if it ended."""
        try:
            pid, start_ticks = (self.directory / "process").read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        process = ProcessIdentity(pid=int(pid), start_ticks=int(start_ticks))
        return process if process.is_running() else None

    def get_inner_process(self) -> ProcessIdentity | None:
        """Identify process 1 of the namespaces; None while it has not started, or when it has ended."""
        outer = self.get_outer_process()
        return outer.get_first_child() if outer else None

    def is_abandoned(self) -> bool:
        """Return whether no process will use or finish it any more."""
        return not self.creator.is_running()


class EngineRecord(MachineUse):
    """One container engine."""

    prefix: ClassVar[str] = "engine"
    sysctls: ClassVar[tuple[str, ...]] = SYSCTLS
    engine: str
    """`docker` or `podman`."""

    @property
    def cgroup(self) -> str:
        """Name of its cgroup."""
        return f"ke{self.creator.pid}"


class ClusterRecord(MachineUse):
    """One cluster."""

    prefix: ClassVar[str] = "cluster"
    sysctls: ClassVar[tuple[str, ...]] = KUBELET_SYSCTLS
    index: int
    kube_minor: str
    kept: bool
    ready: bool = False
    """False while its creator is still at work on it."""

    @property
    def network(self) -> ClusterNetwork:
        """Its addresses."""
        return ClusterNetwork(self.index)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "admin.conf"

    @property
    def cgroup(self) -> str:
        """Name of its cgroup."""
        return self.network.cgroup

    def is_abandoned(self) -> bool:
        """Return whether no process will use or finish it any more."""
        needs_creator = not (self.ready and self.kept)
        if needs_creator and not self.creator.is_running():
            return True
        return self.ready and self.get_outer_process() is None


def require_root() -> None:
    """Raise ClusterError unless we may make namespaces, and see the registry: what is not in it is swept."""
    if ENGINE_MARK.exists():
        raise ClusterError("within the namespaces of a container engine there are no local clusters")
    if os.geteuid() != 0:
        raise ClusterError("a local cluster needs root, for namespaces, mounts and links: run it with sudo -E")


@contextmanager
def registry_locked() -> Iterator[None]:
    """Hold the machine-wide lock; the folder goes when nothing is listed any more."""
    require_root()
    with locked(Path("/run/lock/bessemer-clusters")):
        REGISTRY.mkdir(mode=0o700, exist_ok=True)
        yield
        if not any(REGISTRY.iterdir()):
            REGISTRY.rmdir()


def get_clusters_directory() -> Path:
    """Return the folder that holds the directories of this user's clusters."""
    return get_cache_directory() / "clusters"


def get_engines_directory() -> Path:
    """Return the folder that holds the directories of this user's engines (`docker-of-PID`), and their packages."""
    return get_cache_directory() / "engines"


def list_records() -> list[ClusterRecord]:
    """List the clusters of this machine, alive or not."""
    require_root()
    return [ClusterRecord.model_validate_json(path.read_text()) for path in sorted(REGISTRY.glob("cluster-*.json"))]


def list_engines() -> list[EngineRecord]:
    """List the container engines of this machine, alive or not."""
    require_root()
    return [EngineRecord.model_validate_json(path.read_text()) for path in sorted(REGISTRY.glob("engine-*.json"))]


def get_record(name: str) -> ClusterRecord | None:
    """Find a cluster by name."""
    return next((record for record in list_records() if record.name == name), None)


def get_file(record: MachineUse) -> Path:
    """Return where a use of the machine is listed."""
    return REGISTRY / f"{record.prefix}-{record.name}.json"


def apply_record(record: MachineUse) -> None:
    """List a use of the machine, or change what is listed; note what the machine is like where this changes it."""
    baseline = get_baseline() if get_baseline_file().exists() else take_baseline()
    for name in record.sysctls:
        baseline.sysctls.setdefault(name, (SYSCTL_ROOT / name).read_text().strip())
    write_baseline(baseline)
    write_whole(get_file(record), record.model_dump_json())


def delete_record(record: MachineUse) -> None:
    """Forget a use of the machine; restore settings that no other use changes, and all others after the last use."""
    get_file(record).unlink()
    baseline, others = get_baseline(), [*list_records(), *list_engines()]
    changed = {name for other in others for name in other.sysctls}
    for name in baseline.sysctls.keys() - changed:
        (SYSCTL_ROOT / name).write_text(baseline.sysctls.pop(name))
    if others:
        write_baseline(baseline)
        return
    for path in baseline.made_mount_points:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    get_baseline_file().unlink(missing_ok=True)


def get_baseline_file() -> Path:
    """Return where it is noted what the machine was like."""
    return REGISTRY / "baseline.json"


def get_baseline() -> MachineBaseline:
    """Return what the machine was like; where that is lost, that nothing is ours to restore or detach."""
    try:
        return MachineBaseline.model_validate_json(get_baseline_file().read_text())
    except FileNotFoundError:
        return MachineBaseline(sysctls={}, made_mount_points=[], loop_devices=list_loop_device_names())


def write_baseline(baseline: MachineBaseline) -> None:
    """Note what the machine was like."""
    write_whole(get_baseline_file(), baseline.model_dump_json())


def take_baseline() -> MachineBaseline:
    """Look at the machine before its first use, and make the mount points."""
    missing = [path for path in MOUNT_POINTS if not path.exists()]
    for path in missing:
        path.mkdir(parents=True)
    return MachineBaseline(sysctls={}, made_mount_points=missing, loop_devices=list_loop_device_names())


def write_whole(path: Path, content: str) -> None:
    """Write a file so that no reader sees half of it."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(content)
    os.replace(unfinished, path)

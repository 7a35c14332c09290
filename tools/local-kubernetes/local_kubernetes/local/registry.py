"""What this machine knows of its local clusters, so that whoever comes next can remove what a dead owner left.

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

SYSCTL_ROOT = Path("/proc/sys")
KUBELET_SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys")
"""What a kubelet sets for the whole machine (its container manager's setupKernelTunables)."""
SYSTEMD_SYSCTLS = ("fs/file-max", "fs/nr_open")
"""What systemd raises for the whole machine when it is process 1, as in kind's nodes (its main.c)."""
SYSCTLS = (*KUBELET_SYSCTLS, *SYSTEMD_SYSCTLS)
MOUNT_POINTS = (Path("/var/lib/kubelet"), Path("/var/lib/cni"))
"""Folders that components insist on; made when missing, as mount points only."""


class MachineBaseline(BaseModel):
    """What the machine was like before the first cluster."""

    sysctls: dict[str, str]
    made_mount_points: list[Path]
    loop_devices: list[str]
    """Loop devices that were attached, which are none of ours."""


class MachineUse(BaseModel):
    """What uses the machine in namespaces of its own."""

    prefix: ClassVar[str]
    """How the names of the registry's files of this kind begin."""
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
        """Say whether nobody will use or finish it any more."""
        return not self.creator.is_running()


class EngineRecord(MachineUse):
    """One container engine."""

    prefix: ClassVar[str] = "engine"
    engine: str
    """`docker` or `podman`."""

    @property
    def cgroup(self) -> str:
        """Name of its cgroup."""
        return f"ke{self.creator.pid}"


class ClusterRecord(MachineUse):
    """One cluster."""

    prefix: ClassVar[str] = "cluster"
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
        """Say whether nobody will use or finish it any more."""
        needs_creator = not (self.ready and self.kept)
        if needs_creator and not self.creator.is_running():
            return True
        return self.ready and self.get_outer_process() is None


def require_root() -> None:
    """Raise ClusterError unless we may make namespaces, and read the registry."""
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
    """List a use of the machine, or change what is listed; the first one also notes what the machine is like."""
    if not (REGISTRY / "baseline.json").exists():
        write_whole(REGISTRY / "baseline.json", take_baseline().model_dump_json())
    write_whole(get_file(record), record.model_dump_json())


def delete_record(record: MachineUse) -> None:
    """Forget a use of the machine; with the last one, give the machine back its settings."""
    get_file(record).unlink()
    if not list_records() and not list_engines():
        restore_baseline(get_baseline())
        (REGISTRY / "baseline.json").unlink()


def get_baseline() -> MachineBaseline:
    """Read what the machine was like before the first cluster."""
    return MachineBaseline.model_validate_json((REGISTRY / "baseline.json").read_text())


def take_baseline() -> MachineBaseline:
    """Note the settings that a cluster changes, and make the mount points."""
    missing = [path for path in MOUNT_POINTS if not path.exists()]
    baseline = MachineBaseline(
        sysctls={name: (SYSCTL_ROOT / name).read_text().strip() for name in SYSCTLS},
        made_mount_points=missing,
        loop_devices=list_loop_device_names(),
    )
    for path in missing:
        path.mkdir(parents=True)
    return baseline


def restore_baseline(baseline: MachineBaseline) -> None:
    """Set the settings back, and remove the mount points that we made."""
    for name, value in baseline.sysctls.items():
        (SYSCTL_ROOT / name).write_text(value)
    for path in baseline.made_mount_points:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def write_whole(path: Path, content: str) -> None:
    """Write a file so that no reader sees half of it."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(content)
    os.replace(unfinished, path)

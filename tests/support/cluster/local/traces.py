"""What a machine shows of local clusters: taken before and after, so that tests can compare."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.commands import run
from tests.support.cluster.local.loop_devices import list_loop_device_names
from tests.support.cluster.local.processes import ProcessIdentity
from tests.support.cluster.local.registry import MOUNT_POINTS, REGISTRY, SYSCTL_ROOT, SYSCTLS, get_clusters_directory

NAMESPACE_KINDS = ("net", "mnt", "pid", "ipc", "uts")


@dataclass(frozen=True)
class MachineState:
    """Everything of the machine that a cluster changes and that has no owner by which the kernel would remove it."""

    links: frozenset[str]
    routes: frozenset[str]
    nft_rules: str
    mounts: frozenset[str]
    cgroups: frozenset[str]
    """Those directly under the hierarchies' roots, where a cluster's lies."""
    loop_devices: frozenset[str]
    sysctls: tuple[str, ...]
    folders: frozenset[Path]


def get_machine_state() -> MachineState:
    """Look at the machine."""
    places = (
        *MOUNT_POINTS,
        REGISTRY,
        Path("/opt/containerd"),
        Path("/run/containerd"),
        Path("/run/nri"),
        Path("/run/netns"),
    )
    folders = (*places, *get_clusters_directory().glob("*"), *REGISTRY.glob("*"))
    return MachineState(
        links=frozenset(link["ifname"] for link in json.loads(run(["ip", "-json", "link"]))),
        routes=frozenset(run(["ip", "-4", "route"]).splitlines()),
        nft_rules=run(["nft", "--stateless", "list", "ruleset"]),
        mounts=frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        cgroups=frozenset(
            str(path) for path in (*Path("/sys/fs/cgroup").glob("*/"), *Path("/sys/fs/cgroup").glob("*/*/"))
        ),
        loop_devices=frozenset(list_loop_device_names()),
        sysctls=tuple((SYSCTL_ROOT / name).read_text() for name in SYSCTLS),
        folders=frozenset(path for path in folders if path.exists()),
    )


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

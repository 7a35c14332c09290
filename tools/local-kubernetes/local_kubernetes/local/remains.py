"""Remove a local cluster: everything of it, in whatever state it is, alive or half dead.

Killing process 1 of the process namespace makes the kernel end all processes and remove mounts, links, routes and nft
rules. What has no namespace is removed here: cgroups, loop devices, settings of the machine, files.
"""

import contextlib
import shutil
from pathlib import Path

from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.local.loop_devices import delete_loop_devices
from local_kubernetes.local.processes import reap
from local_kubernetes.local.registry import (
    ClusterRecord,
    MachineUse,
    delete_record,
    get_baseline,
    get_clusters_directory,
    get_engines_directory,
    list_engines,
    list_records,
    registry_locked,
)
from local_kubernetes.local.routes import list_links
from local_kubernetes.waiting import wait_until

CGROUPS = Path("/sys/fs/cgroup")
END_SECONDS = 30
"""Until the kernel has ended the last process of a namespace; some seconds with thousands of pods."""


def delete_cluster(record: ClusterRecord) -> None:
    """Remove the cluster and forget it. Called with the registry locked."""
    link = record.network.host_link
    delete_processes(record)
    wait_until(f"the link {link} is gone", lambda: delete_link(link), END_SECONDS)
    delete_use(record)


def delete_use(record: MachineUse) -> None:
    """Remove what uses the machine and forget it. Called with the registry locked."""
    delete_processes(record)
    delete_cgroups(record)
    delete_loop_devices(record.directory, get_baseline().loop_devices)
    wait_until(f"{record.directory} is removed", lambda: remove_tree(record.directory), END_SECONDS)
    delete_record(record)


def delete_link(name: str) -> bool:
    """Delete a link; return whether it is gone. The kernel also deletes it with the network namespace of its peer."""
    if name in list_links():
        with contextlib.suppress(ClusterError):  # gone between the look and the command
            run(["ip", "link", "delete", name])
    return name not in list_links()


def remove_tree(directory: Path) -> bool:
    """Remove a folder; return whether it is gone. Mounts that the kernel is still removing can delay that."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def delete_processes(record: MachineUse) -> None:
    """End all processes: process 1 of the namespace takes all others with it, and `unshare` outside then ends too."""
    outer = record.get_outer_process()
    if outer is None:
        return
    (outer.get_first_child() or outer).kill()

    def has_ended() -> bool:
        reap(outer.pid)
        return not outer.is_running()

    wait_until(f"the processes of {record.name} end", has_ended, END_SECONDS)


def delete_cgroups(record: MachineUse) -> None:
    """Remove its cgroup from every hierarchy, innermost first."""

    def is_gone() -> bool:
        name = record.cgroup
        roots = [path for path in (CGROUPS / name, *CGROUPS.glob(f"*/{name}")) if path.is_dir()]
        for root in roots:
            for folder in sorted(root.rglob("*/"), key=lambda path: len(path.parts), reverse=True):
                with contextlib.suppress(OSError):  # busy while a process is still ending: the next round gets it
                    folder.rmdir()
            with contextlib.suppress(OSError):
                root.rmdir()
        return not roots

    wait_until(f"the cgroups {record.cgroup} are removed", is_gone, END_SECONDS)


def sweep() -> list[str]:
    """Remove the clusters and engines whose owner is gone; return their names."""
    with registry_locked():
        return sweep_locked()


def sweep_locked() -> list[str]:
    """Remove abandoned clusters and engines, and files that a reboot left. Called with the registry locked."""
    clusters = [record for record in list_records() if record.is_abandoned()]
    engines = [record for record in list_engines() if record.is_abandoned()]
    for record in (*clusters, *engines):
        announce(f"removing what is left of {record.prefix} {record.name}: no process uses it any more")
        delete_cluster(record) if isinstance(record, ClusterRecord) else delete_use(record)
    listed = {record.directory for record in (*list_records(), *list_engines())}
    for directory in (*get_clusters_directory().glob("*"), *get_engines_directory().glob("*-of-*")):
        if directory not in listed:
            shutil.rmtree(directory)
    return [record.name for record in (*clusters, *engines)]

"""Start a local cluster's one node: its files, its namespaces, its link to the machine."""

import os
import shutil
from pathlib import Path

from local_kubernetes.commands import run
from local_kubernetes.local.config import build_environment, build_files
from local_kubernetes.local.pki import create_pki
from local_kubernetes.local.processes import ProcessIdentity, reap
from local_kubernetes.local.registry import ClusterRecord
from local_kubernetes.local.sandbox_image import BUSYBOX, create_sandbox_archive
from local_kubernetes.waiting import wait_until

INIT = Path(__file__).with_name("init.sh")
FOLDERS = ("cni", "log", "run", "varlog", "varlibcni", "kubelet", "containerd")
NAMESPACE_SECONDS = 10

# The process writes itself down before it makes anything, so that there is never a cluster that nobody can find.
LAUNCH = """
set -eu
read -r stat <"/proc/$$/stat"
set -- $stat
echo "$$ ${22}" >"$CLUSTER_DIRECTORY/process.unfinished"
mv "$CLUSTER_DIRECTORY/process.unfinished" "$CLUSTER_DIRECTORY/process"
exec unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private "$INIT"
"""


def start_node(record: ClusterRecord, program_folders: list[Path]) -> None:
    """Write the cluster's files, start its processes in new namespaces and link them to the machine."""
    directory = record.directory
    shutil.rmtree(directory, ignore_errors=True)  # of a cluster before the last reboot
    directory.mkdir(mode=0o700, parents=True)
    for folder in FOLDERS:
        (directory / folder).mkdir()
    create_pki(directory, record.network, record.name)
    for name, content in build_files(directory, record.network, record.name).items():
        (directory / name).write_text(content)
    create_sandbox_archive(directory / "sandbox.tar", BUSYBOX.read_bytes(), run([BUSYBOX, "--list"]).split())
    environment = build_environment(directory, record.network, program_folders)
    create_namespaces(record, {**environment, "INIT": str(INIT)})
    create_link(record)


def create_namespaces(record: ClusterRecord, environment: dict[str, str]) -> None:
    """Start `init.sh` as process 1 of new namespaces, in a session of its own: a Ctrl-C here does not reach it."""
    log = str(record.directory / "log" / "init.log")
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", LAUNCH],
        environment,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )

    def explain() -> str:
        reap(pid)
        return Path(log).read_text()

    wait_until("the cluster's namespaces are made", lambda: get_node(record) is not None, NAMESPACE_SECONDS, explain)


def get_node(record: ClusterRecord) -> ProcessIdentity | None:
    """Identify process 1 of the namespaces; None while it has not started, or when it has ended."""
    outer = record.get_outer_process()
    return outer.get_first_child() if outer else None


def create_link(record: ClusterRecord) -> None:
    """Connect machine and node by a veth pair, and let the machine reach pods and services through the node."""
    network = record.network
    node = get_node(record)
    pid = str(node.pid) if node else "0"
    link = network.host_link
    run(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", pid])
    run(["ip", "address", "add", f"{network.host_address}/{network.link_network.prefixlen}", "dev", link])
    run(["ip", "link", "set", link, "up"])
    for destination in (network.node_pods, network.services):
        run(["ip", "route", "add", str(destination), "via", str(network.node_address)])

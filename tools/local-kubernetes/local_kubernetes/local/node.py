"""Start a local cluster's one node: its files, its namespaces, its link to the machine."""

import shutil
from pathlib import Path

from local_kubernetes.commands import run
from local_kubernetes.local.config import build_environment, build_files
from local_kubernetes.local.namespaces import create_namespaces
from local_kubernetes.local.pki import create_pki
from local_kubernetes.local.registry import ClusterRecord
from local_kubernetes.local.sandbox_image import BUSYBOX, create_sandbox_archive

INIT = Path(__file__).with_name("init.sh")
FOLDERS = ("cni", "log", "run", "varlog", "varlibcni", "kubelet", "containerd")


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
    create_namespaces(record, INIT, environment)
    create_link(record)


def create_link(record: ClusterRecord) -> None:
    """Connect machine and node by a veth pair, and let the machine reach pods and services through the node."""
    network = record.network
    node = record.get_inner_process()
    pid = str(node.pid) if node else "0"
    link = network.host_link
    run(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", pid])
    run(["ip", "address", "add", f"{network.host_address}/{network.link_network.prefixlen}", "dev", link])
    run(["ip", "link", "set", link, "up"])
    for destination in (network.node_pods, network.services):
        run(["ip", "route", "add", str(destination), "via", str(network.node_address)])

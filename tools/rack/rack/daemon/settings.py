"""What is in the rack: machines, their network cards and disks, from one small JSON document."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOOT_HOST = "boothost"
SITE_BRIDGE = "site"
CLUSTER_BRIDGE = "cluster"
GATEWAY_ADDRESS = "10.77.0.254"
"""The rack's own address on the site network: where connections from outside come from."""
BOOT_HOST_ADDRESS = "10.77.0.1"
MANAGEMENT_ADDRESS = "10.77.0.10"
MOST_COMPUTE_NODES = 64
CONTROL_SOCKET = Path("/run/rack/control.sock")


@dataclass(frozen=True)
class Nic:
    """A network card, plugged into one of the rack's two bridges."""

    name: str
    mac: str
    bridge: str


@dataclass(frozen=True)
class MachineSettings:
    """One machine. Its firmware boots from the first network card, then from the disk."""

    number: int
    name: str
    nics: tuple[Nic, ...]
    disk_mib: int


@dataclass(frozen=True)
class Settings:
    """The whole rack."""

    machines: tuple[MachineSettings, ...]
    management_installed: bool
    """Whether the management machine starts installed, with the host key and authorized keys of the keys folder."""
    state: Path
    """Where disks and overlays live; emptied with the pod."""
    keys: Path
    """`ssh_host_ed25519_key` and `authorized_keys` of the boot host and of an installed management machine."""
    http_root: Path
    """What the boot host serves."""


def parse_settings(text: str) -> Settings:
    """Read the rack's settings from JSON.

    Raises:
        ValueError: a field is missing or out of bounds; the message names it.

    """
    document: dict[str, Any] = json.loads(text)
    prefix, count = document.get("clusterName", "oxygen"), document.get("computeNodes", 4)
    if not isinstance(count, int) or not 0 <= count <= MOST_COMPUTE_NODES:
        raise ValueError(f"computeNodes must be a number from 0 to {MOST_COMPUTE_NODES}, not {count!r}")
    disk_mib = document.get("diskMiB", 4096)
    return Settings(
        machines=build_machines(prefix, count, disk_mib, int(document.get("nodesPerRack", 0))),
        management_installed=bool(document.get("managementInstalled", False)),
        state=Path(document.get("state", "/var/lib/rack")),
        keys=Path(document.get("keys", "/etc/rack/keys")),
        http_root=Path(document.get("httpRoot", "/srv/http")),
    )


def build_machines(
    prefix: str, compute_nodes: int, disk_mib: int, nodes_per_rack: int = 0
) -> tuple[MachineSettings, ...]:
    """Return the management machine, number 1, and the compute nodes after it."""
    management_nics = (Nic("eth0", "52:54:00:77:00:01", SITE_BRIDGE), Nic("eth1", cluster_mac(1), CLUSTER_BRIDGE))
    machines = [MachineSettings(1, f"{prefix}1", management_nics, disk_mib)]
    for number in range(2, compute_nodes + 2):
        nics = (Nic("eth0", cluster_mac(number), CLUSTER_BRIDGE),)
        machines.append(MachineSettings(number, name_compute(prefix, number, nodes_per_rack), nics, disk_mib))
    return tuple(machines)


def name_compute(prefix: str, number: int, nodes_per_rack: int) -> str:
    """Return a compute node's name: by rack and node, both from 1, or by its number, from 2."""
    if not nodes_per_rack:
        return f"{prefix}{number}"
    rack, node = divmod(number - 2, nodes_per_rack)
    return f"r{rack + 1}n{node + 1}"


def cluster_mac(number: int) -> str:
    """Return a machine's hardware address on the cluster network; 52:54:00 is QEMU's locally administered prefix."""
    return f"52:54:00:8d:00:{number:02x}"

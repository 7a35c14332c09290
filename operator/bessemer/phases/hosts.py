"""The Ansible inventory of a build: its hosts, groups and variables. All pure.

Groups are ``management``, ``compute`` (the nodes that have their system) and ``cluster`` (both). The common role sets
for Slurm clusters use different group names; they are added as aliases of the same groups, so that a
site's own playbooks run unchanged.

``spec.configuration.variables`` are laid over ours; only some stay Bessemer's: how Ansible connects, because host
keys are always checked, keys, and where the boot server is.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.phase_contract import NodeState, PhaseInput
from bessemer.errors import Invalid
from bessemer.foreign import make_line
from bessemer.machines.hostlists import build_slurm_hostlist
from bessemer.machines.machine import BOOT_HOST, Machine, parse_compute_machines
from bessemer.machines.netboot import bootd
from bessemer.machines.netboot.entries import MANAGEMENT_BOOT_PORT
from bessemer.machines.netboot.server import BASE_DIRECTORY
from bessemer.phases.grouping import parse_node_groups

Variables = dict[str, Any]

MANAGEMENT = "management"
COMPUTE = "compute"
CLUSTER = "cluster"
GROUP_ALIASES: Mapping[str, tuple[str, ...]] = {
    MANAGEMENT: (
        *("control", "slurmservers", "slurm_master", "slurm-master"),
        *("login", "slurm_submit", "slurm-login", "nfs", "nfs_server", "slurm-nfs"),
    ),
    COMPUTE: ("slurmexechosts", "slurm_worker", "slurm-node", "nfs_clients", "slurm-nfs-client"),
    CLUSTER: ("chrony", "openhpc", "slurm-cluster"),
}
"""Other names of our groups, from https://github.com/stackhpc/ansible-slurm-appliance (environments/common/inventory),
https://github.com/galaxyproject/ansible-slurm, https://github.com/NVIDIA/deepops (config.example/inventory),
https://github.com/elasticluster/elasticluster and https://github.com/stackhpc/ansible-role-cluster-nfs."""

RESERVED_HOST_NAMES = frozenset({"all", "ungrouped", BOOT_HOST, *GROUP_ALIASES}.union(*GROUP_ALIASES.values()))
"""Names that an inventory can't have for a host: Ansible would take the host for the group of that name; and the name
by which the files for SSH know the boot host."""

HAS_SYSTEM = (NodeState.INSTALLED, NodeState.CONFIGURED, NodeState.READY)
CONFIGURATION_FAILED = "ConfigurationFailed"
UNREACHABLE = "Unreachable"
NOT_IN_SLURM = "NotInSlurm"
CONFIGURABLE_AGAIN = (CONFIGURATION_FAILED, UNREACHABLE, NOT_IN_SLURM)
"""Reasons of nodes that failed after their install: they have a system, and another attempt looks at them again."""

_CONNECTION = re.compile(
    r"ansible_(ssh_.*|sftp_.*|scp_.*|become(_.*)?|connection|host|port|user|password|host_key_checking|private_key_file)"
)
_OURS = (
    *("munge_key_file", "sshfs_key_file", "sshfs_public_key", "sshfs_host_key"),
    *("boot_server_directory", "boot_server_port", "boot_server_program", "boot_server_build"),
    *("slurm_control_host", "services", "shared_home"),
)
"""Variables of keys and other files in the phase pod, of what BootCompute must find where it looks for it, of the
machine to which tasks are delegated, and of what has its own field in the spec."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
"""Of a variable. Source: https://docs.ansible.com/ansible/latest/playbook_guide/playbooks_variables.html"""


def select_installed(phase_input: PhaseInput) -> tuple[Machine, ...]:
    """List the compute nodes that have a system to configure, in the order of the spec."""
    machines = parse_compute_machines(phase_input.spec)
    groups = parse_node_groups(phase_input.nodes, [machine.host for machine in machines])
    return tuple(
        machine
        for machine in machines
        if (group := groups.get(machine.host))
        and (group.state in HAS_SYSTEM or (group.state is NodeState.FAILED and group.reason in CONFIGURABLE_AGAIN))
    )


def build_inventory(
    phase_input: PhaseInput,
    computes: Sequence[str],
    public_keys: Mapping[str, str] | None = None,
    failed: Mapping[str, str] | None = None,
) -> Variables:
    """Build the inventory, as Ansible's YAML plugin reads it.

    Source: https://docs.ansible.com/ansible/latest/collections/ansible/builtin/yaml_inventory.html

    Args:
        phase_input: the input of the phase.
        computes: the compute nodes to deal with.
        public_keys: public keys that roles need, by the variable that holds them.
        failed: compute nodes that have failed in this very phase, and the reason of each.

    Raises:
        Invalid: the hosts don't fit together, or a variable of the spec is not the user's to set.
    """
    spec = phase_input.spec
    own = parse_variables(spec.configuration.variables)
    groups: Variables = {
        MANAGEMENT: {"hosts": {spec.management.host: {}}, "vars": _without(_management_variables(phase_input), own)},
        COMPUTE: {"hosts": {host: {} for host in computes}, "vars": _without(_compute_variables(spec), own)},
        CLUSTER: {"children": {MANAGEMENT: {}, COMPUTE: {}}},
    }
    common = _common_variables(phase_input, computes, failed or {}) | dict(public_keys or {})
    aliases: Variables = {alias: {"children": {group: {}}} for group, names in GROUP_ALIASES.items() for alias in names}
    openhpc: Variables = {f"{build_cluster_name(phase_input.build)}_compute": {"children": {COMPUTE: {}}}}
    return {"all": {"vars": common | own, "children": groups | aliases | openhpc}}


def build_cluster_name(build: str) -> str:
    """Return the name that Slurm knows the cluster by; it is also part of a group's name."""
    return re.sub(r"[^a-z0-9]", "_", build)


def build_address(spec: ClusterBuildSpec) -> str:
    """Return the management node's address in the network of the compute nodes."""
    return str(_interface(spec).ip)


def _common_variables(phase_input: PhaseInput, computes: Sequence[str], failed: Mapping[str, str]) -> Variables:
    spec = phase_input.spec
    machines = parse_compute_machines(spec)
    management = {"name": spec.management.host, "address": build_address(spec)}
    return {
        "base_hosts": [management, *({"name": node.host, "address": node.address} for node in machines)],
        "shared_home": spec.configuration.shared_home.value,
        "services": list(spec.services),
        "slurm_cluster_name": build_cluster_name(phase_input.build),
        "slurm_control_host": spec.management.host,
        "slurm_control_address": build_address(spec),
        "slurm_nodes": build_slurm_hostlist([node.host for node in machines]),
        "slurm_ready_nodes": build_slurm_hostlist(computes),
        "slurm_down_nodes": _down_nodes(phase_input, failed),
        "nfs_server": spec.management.host,
        "nfs_network": str(_interface(spec).network),
        "sshfs_server": spec.management.host,
        "sshfs_network": str(_interface(spec).network),
    }


def _management_variables(phase_input: PhaseInput) -> Variables:
    spec = phase_input.spec
    interface, install = _interface(spec), spec.compute.install
    return {
        "boot_server_program": str(Path(bootd.__file__).resolve()),
        "boot_server_build": f"{phase_input.namespace}.{phase_input.build}",
        "boot_server_directory": BASE_DIRECTORY,
        "boot_server_port": MANAGEMENT_BOOT_PORT,
        "boot_server_interface": spec.management.cluster_interface.name,
        "boot_server_address": str(interface),
        "boot_server_network": str(interface.network.network_address),
        "boot_server_netmask": str(interface.netmask),
        "boot_server_downloads": [install.kernel, *install.initrds, install.image],
        "boot_server_machines": [
            {"name": node.host, "address": node.address, "mac": node.mac} for node in parse_compute_machines(spec)
        ],
        "cluster_network_interface": spec.management.cluster_interface.name,
        "cluster_network_address": str(interface),
        "time_servers": [],
        "time_allowed_networks": [str(interface.network)],
        "powerman_server": spec.power.powerman.management_address or "",
        "powerman_port": spec.power.powerman.port,
    }


def _compute_variables(spec: ClusterBuildSpec) -> Variables:
    return {"time_servers": [spec.management.host], "time_allowed_networks": []}


def _down_nodes(phase_input: PhaseInput, failed: Mapping[str, str]) -> list[Variables]:
    """List the nodes that are known not to work, with their reasons: one by one, and as Slurm reads them."""
    machines = parse_compute_machines(phase_input.spec)
    groups = parse_node_groups(phase_input.nodes, [machine.host for machine in machines])
    installed = {machine.host for machine in select_installed(phase_input)}
    by_reason: dict[str, list[str]] = {}
    for machine in machines:
        group = groups.get(machine.host)
        if machine.host in failed:
            by_reason.setdefault(failed[machine.host], []).append(machine.host)
        elif group and group.state is NodeState.FAILED and machine.host not in installed:
            by_reason.setdefault(group.reason or "Failed", []).append(machine.host)
    return [
        {"hosts": hosts, "names": build_slurm_hostlist(hosts), "reason": reason} for reason, hosts in by_reason.items()
    ]


def _interface(spec: ClusterBuildSpec) -> IPv4Interface:
    return IPv4Interface(spec.management.cluster_interface.address)


def parse_variables(variables: Mapping[str, Any]) -> Variables:
    """Take the variables of the spec.

    Raises:
        Invalid: some are not the user's to set.
    """
    unusable = sorted(name for name in variables if not _NAME.fullmatch(name) or keyword.iskeyword(name))
    if unusable:
        shown = ", ".join(make_line(repr(name), 64) for name in unusable[:20])
        raise Invalid(
            "InvalidVariable",
            f"spec.configuration.variables: {shown}: the name of a variable is of letters, digits and _ only",
        )
    refused = sorted(name for name in variables if _CONNECTION.fullmatch(name) or name in _OURS)
    if refused:
        raise Invalid(
            "InvalidVariable",
            f"spec.configuration.variables: {', '.join(refused)} may not be set: that is Bessemer's own",
        )
    return dict(variables)


def _without(variables: Variables, own: Variables) -> Variables:
    """Leave out what the user has set for all hosts, because a group's variable would win over it."""
    return {name: value for name, value in variables.items() if name not in own}

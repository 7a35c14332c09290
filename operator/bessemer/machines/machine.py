"""The machines of a build, as one list: names, addresses and MACs put together, and how SSH gets to each.

Hostlists keep the order in which the user wrote them, because MAC addresses are given in that order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bessemer.api.clusterbuild.spec import ClusterBuildSpec, SshEndpoint
from bessemer.api.reasons import INVALID_HOSTLIST, INVALID_SPEC, LENGTH_MISMATCH
from bessemer.errors import Invalid
from bessemer.machines.hostlists import parse_hostlist


@dataclass(frozen=True)
class Machine:
    """One machine that Bessemer installs."""

    host: str
    """Host name; also its name in power control."""
    address: str
    """IPv4 address on the network that it boots from."""
    mac: str | None
    """MAC address that it boots from, in lower case; None where it is never installed by us."""


@dataclass(frozen=True)
class SshTarget:
    """A machine as SSH reaches it."""

    name: str
    """Host name, or boot-host; the alias under which its host key is known."""
    address: str
    """Name or address to connect to, seen from ``jump`` if there is one, else from here."""
    host_key: str
    """The public host key that it must have: type and base64."""
    port: int = 22
    user: str = "root"
    jump: SshTarget | None = None
    """The machine through which the connection goes."""


BOOT_HOST = "boot-host"
"""Name of the boot host among SSH targets; it has no name in the spec."""


def parse_compute_hosts(spec: ClusterBuildSpec) -> tuple[str, ...]:
    """List the names of the compute nodes.

    Raises:
        Invalid: hosts is no hostlist, or names too many.
    """
    try:
        return parse_hostlist(spec.compute.hosts)
    except ValueError as error:
        raise Invalid(INVALID_HOSTLIST, f"spec.compute.hosts: {error}") from error


def parse_compute_machines(spec: ClusterBuildSpec) -> tuple[Machine, ...]:
    """List the compute nodes.

    Raises:
        Invalid: hosts, addresses and macs don't fit together.
    """
    compute = spec.compute
    hosts = parse_compute_hosts(spec)
    try:
        addresses = parse_hostlist(compute.addresses)
    except ValueError as error:
        raise Invalid(INVALID_HOSTLIST, f"spec.compute.addresses: {error}") from error
    if not len(hosts) == len(addresses) == len(compute.macs):
        raise Invalid(
            LENGTH_MISMATCH,
            f"spec.compute: hosts has {len(hosts)} names, addresses has {len(addresses)} and macs has "
            f"{len(compute.macs)}; all three must be equally many",
        )
    return tuple(
        Machine(host, address, mac.lower()) for host, address, mac in zip(hosts, addresses, compute.macs, strict=True)
    )


def compute_min_ready(spec: ClusterBuildSpec) -> int:
    """Return how many compute nodes must be ready; a percentage is rounded up.

    Raises:
        Invalid: more than there are.
    """
    desired, wanted = len(spec.compute.macs), spec.compute.min_ready
    count = math.ceil(desired * int(wanted[:-1]) / 100) if wanted.endswith("%") else int(wanted)
    if count > desired:
        raise Invalid("InvalidMinReady", f"spec.compute.minReady: {wanted} is more than the {desired} nodes there are")
    return count


def build_management_machine(spec: ClusterBuildSpec) -> Machine:
    """Return the management node."""
    management = spec.management
    return Machine(management.host, management.address, management.mac.lower() if management.mac else None)


def build_boot_host_target(spec: ClusterBuildSpec) -> SshTarget:
    """Return how SSH reaches the given boot host, whose key the spec must hold.

    Raises:
        Invalid: the spec has no boot host or no host key for it.
    """
    if spec.boot_host is None or spec.boot_host.ssh.host_key is None:
        raise Invalid(INVALID_SPEC, "spec.bootHost and spec.bootHost.ssh.hostKey are required")
    return _target(BOOT_HOST, spec.boot_host.ssh, spec.boot_host.ssh.host_key)


def build_management_target(spec: ClusterBuildSpec, planted_host_key: str) -> SshTarget:
    """Return how SSH reaches the management node.

    Args:
        spec: what was asked for.
        planted_host_key: the public key that Bessemer plants; expected where ``management.provision`` is true.
    """
    management = spec.management
    endpoint = management.ssh or SshEndpoint(address=management.address)
    host_key = planted_host_key if management.provision else endpoint.host_key
    if host_key is None:
        raise Invalid(INVALID_SPEC, "spec.management.ssh.hostKey is required where provision is false")
    return _target(management.host, endpoint, host_key)


def build_compute_target(machine: Machine, planted_host_key: str, management: SshTarget) -> SshTarget:
    """Return how SSH reaches a compute node: through the management node, as root."""
    return SshTarget(name=machine.host, address=machine.address, host_key=planted_host_key, jump=management)


def _target(name: str, endpoint: SshEndpoint, host_key: str) -> SshTarget:
    key = " ".join(host_key.split()[:2])
    return SshTarget(name=name, address=endpoint.address, host_key=key, port=endpoint.port, user=endpoint.user)

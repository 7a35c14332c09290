"""The machines of a build, as one list: names, addresses and MACs put together, and how SSH gets to each.

Hostlists keep the order in which the user wrote them, because MAC addresses are given in that order.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from ClusterShell.NodeSet import NodeSet
from ClusterShell.RangeSet import RangeSet, RangeSetException

from bessemer.clusterbuild.spec import MAX_NODES, ClusterBuildSpec, SshEndpoint
from bessemer.errors import Invalid

_COMMA_OUTSIDE_BRACKETS = re.compile(r",(?![^\[]*\])")
_BRACKETS = re.compile(r"\[([^\]]*)\]")
_RANGE = re.compile(r"(?P<first>[0-9]{1,63})(-(?P<last>[0-9]{1,63}))?")
"""One number or range in brackets; no longer than a host name may be."""
MAX_ANSWERED = 4 * MAX_NODES
"""Names taken from what is not one spec: answers of powerman, which also has the management node, and removed nodes."""
HOSTLIST_LIMIT = 4096
"""Characters of one hostlist in the status and in what phases report."""
_QUOTED = 100
"""Characters of a wrong hostlist that are told."""


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


def parse_hostlist(hostlist: str, limit: int = MAX_NODES) -> tuple[str, ...]:
    """Expand a hostlist such as ``oxygen[2-4,7]`` in the order in which it is written.

    Names are counted before any is made: ``a[1-99999999]`` costs no more than its text.

    Raises:
        ValueError: it is no hostlist, or names more than ``limit`` machines; says what is wrong with it.
    """
    pieces = _COMMA_OUTSIDE_BRACKETS.split(hostlist)
    try:
        if sum(_count_piece(piece) for piece in pieces) > limit:
            raise ValueError(f"{_shorten(hostlist)} names more than {limit} machines, which is the limit")
        return tuple(name for piece in pieces for name in _expand_piece(piece))
    except RangeSetException as error:
        raise ValueError(f"{_shorten(hostlist)} is no hostlist: {error}") from error


def _count_piece(piece: str) -> int:
    """Count the names of a piece without expanding it: each bracket multiplies, each range in it adds."""
    if not piece or any(mark in literal for literal in _BRACKETS.split(piece)[0::2] for mark in "[]"):
        raise RangeSetException(f"{_shorten(piece)} is not a name")
    return math.prod(sum(_count_range(text) for text in bracket.split(",")) for bracket in _BRACKETS.findall(piece))


def _count_range(text: str) -> int:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise RangeSetException(f"{_shorten(text)} is not a range of numbers")
    first, last = int(match["first"]), int(match["last"] or match["first"])
    if last < first:
        raise RangeSetException(f"{text} counts down")
    return last - first + 1


def _expand_piece(piece: str) -> list[str]:
    literals = _BRACKETS.split(piece)[0::2]
    ranges = [[n for part in text.split(",") for n in RangeSet(part).striter()] for text in _BRACKETS.findall(piece)]
    return [
        literals[0] + "".join(number + literal for number, literal in zip(numbers, literals[1:], strict=True))
        for numbers in itertools.product(*ranges)
    ]


def _shorten(text: str) -> str:
    """Quote a text of the user; a long one by its beginning, so that what is wrong with it is still told."""
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}...")


def build_hostlist(hosts: Collection[str]) -> str:
    """Fold names into a hostlist, sorted, such as ``oxygen[2-4,7]``."""
    return str(NodeSet.fromlist(list(hosts)))


def build_hostlists(hosts: Collection[str]) -> list[str]:
    """Fold names into as few hostlists as hold no more than 4096 characters each, sorted.

    Names with several numbers, of which some are missing, hardly fold: then it takes several.
    """
    folded = build_hostlist(hosts)
    if len(folded) <= HOSTLIST_LIMIT or len(hosts) == 1:
        return [folded]
    names = list(NodeSet.fromlist(list(hosts)))
    middle = len(names) // 2
    return [*build_hostlists(names[:middle]), *build_hostlists(names[middle:])]


def parse_compute_hosts(spec: ClusterBuildSpec) -> tuple[str, ...]:
    """List the names of the compute nodes.

    Raises:
        Invalid: hosts is no hostlist, or names too many.
    """
    try:
        return parse_hostlist(spec.compute.hosts)
    except ValueError as error:
        raise Invalid("InvalidHostlist", f"spec.compute.hosts: {error}") from error


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
        raise Invalid("InvalidHostlist", f"spec.compute.addresses: {error}") from error
    if not len(hosts) == len(addresses) == len(compute.macs):
        raise Invalid(
            "LengthMismatch",
            f"spec.compute: hosts has {len(hosts)} names, addresses has {len(addresses)} and macs has "
            f"{len(compute.macs)}; all three must be equally many",
        )
    return tuple(
        Machine(host, address, mac.lower()) for host, address, mac in zip(hosts, addresses, compute.macs, strict=True)
    )


def compute_min_ready(spec: ClusterBuildSpec) -> int:
    """Say how many compute nodes must be ready; a percentage is rounded up.

    Raises:
        Invalid: more than there are.
    """
    desired, wanted = len(spec.compute.macs), spec.compute.min_ready
    count = math.ceil(desired * int(wanted[:-1]) / 100) if wanted.endswith("%") else int(wanted)
    if count > desired:
        raise Invalid("InvalidMinReady", f"spec.compute.minReady: {wanted} is more than the {desired} nodes there are")
    return count


def build_management_machine(spec: ClusterBuildSpec) -> Machine:
    """Give the management node."""
    management = spec.management
    return Machine(management.host, management.address, management.mac.lower() if management.mac else None)


def build_boot_host_target(spec: ClusterBuildSpec) -> SshTarget:
    """Say how SSH reaches the given boot host, whose key the spec must hold.

    Raises:
        Invalid: the spec has no boot host or no host key for it.
    """
    if spec.boot_host is None or spec.boot_host.ssh.host_key is None:
        raise Invalid("InvalidSpec", "spec.bootHost and spec.bootHost.ssh.hostKey are required")
    return _target(BOOT_HOST, spec.boot_host.ssh, spec.boot_host.ssh.host_key)


def build_management_target(spec: ClusterBuildSpec, planted_host_key: str) -> SshTarget:
    """Say how SSH reaches the management node.

    Args:
        spec: what was asked for.
        planted_host_key: the public key that Bessemer plants; expected where ``management.provision`` is true.
    """
    management = spec.management
    endpoint = management.ssh or SshEndpoint(address=management.address)
    host_key = planted_host_key if management.provision else endpoint.host_key
    if host_key is None:
        raise Invalid("InvalidSpec", "spec.management.ssh.hostKey is required where provision is false")
    return _target(management.host, endpoint, host_key)


def build_compute_target(machine: Machine, planted_host_key: str, management: SshTarget) -> SshTarget:
    """Say how SSH reaches a compute node: through the management node, as root."""
    return SshTarget(name=machine.host, address=machine.address, host_key=planted_host_key, jump=management)


def _target(name: str, endpoint: SshEndpoint, host_key: str) -> SshTarget:
    key = " ".join(host_key.split()[:2])
    return SshTarget(name=name, address=endpoint.address, host_key=key, port=endpoint.port, user=endpoint.user)

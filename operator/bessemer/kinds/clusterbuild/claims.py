"""What a build claims of each of its machines, so that no other build works on it.

A machine can be affected in three ways: it is network-booted by its MAC address, logged in to by its IP address, and
switched by its name at a power server. Each has its own Lease; two builds that share any of them share a machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.wellknown import MACHINE_LEASE_PREFIX
from bessemer.machines.hostlists import parse_hostlist

_DIGEST_DIGITS = 16
_CLUSTER_DOMAIN = re.compile(r"\.svc(\.cluster\.local)?$")


@dataclass(frozen=True, order=True)
class Claim:
    """One way to reach one machine."""

    lease: str
    """Name of the Lease."""
    what: str
    """Description of what is claimed, for messages."""


def compute_claims(spec: ClusterBuildSpec, repeated: Sequence[IPv4Network] = ()) -> tuple[Claim, ...]:
    """Return the claims of a build, sorted by the names of the Leases.

    Compute addresses in ``repeated`` networks are left out: more than one cluster has such a network, each behind its
    own management node. An unreadable hostlist adds no claims; Preflight refuses it before it touches a machine.
    """
    hosts, addresses = _expand(spec.compute.hosts), _expand(spec.compute.addresses)
    claims = {_claim_mac(mac) for mac in (spec.management.mac, *spec.compute.macs) if mac is not None}
    claims |= {_claim_address(address) for address in addresses if not _is_repeated(address, repeated)}
    claims.add(_claim_address(spec.management.address))
    server = spec.power.powerman.address
    claims |= {_claim_power(server, host) for host in (spec.management.host, *hosts)}
    return tuple(sorted(claims))


def _expand(hostlist: str) -> tuple[str, ...]:
    try:
        return parse_hostlist(hostlist)
    except ValueError:
        return ()


def _is_repeated(address: str, repeated: Sequence[IPv4Network]) -> bool:
    try:
        return any(IPv4Address(address) in network for network in repeated)
    except ValueError:
        return False


def _claim_mac(mac: str) -> Claim:
    return Claim(MACHINE_LEASE_PREFIX + mac.lower().replace(":", "-"), f"MAC address {mac.lower()}")


def _claim_address(address: str) -> Claim:
    return Claim(MACHINE_LEASE_PREFIX + address.replace(".", "-"), f"address {address}")


def _claim_power(server: str, host: str) -> Claim:
    """Return the claim for a name at a power server.

    The server's port and cluster domain are ignored, because they don't make it another server. Server and name may be
    too long for an object's name, so the name of the Lease contains a digest.
    """
    known = _CLUSTER_DOMAIN.sub("", server.lower())
    digest = hashlib.sha256(f"{_write_address(known)}/{host}".encode()).hexdigest()[:_DIGEST_DIGITS]
    return Claim(f"{MACHINE_LEASE_PREFIX}power-{digest}", f"{host} of the power server {server}")


def _write_address(server: str) -> str:
    """Return an address in dotted-quad form from any form that inet_aton(3) accepts:

    10.77.1 and 0x0a4d0001 are the same address.
    """
    try:
        *front, last = (int(part, _find_base(part)) for part in server.split("."))
    except ValueError:
        return server  # a host name
    if len(front) > 3 or any(part > 255 for part in front) or last >= 256 ** (4 - len(front)):
        return server
    return str(IPv4Address(sum(part << 8 * (3 - place) for place, part in enumerate(front)) + last))


def _find_base(digits: str) -> int:
    if digits.startswith("0x"):
        return 16
    return 8 if digits.startswith("0") else 10

"""Whether the names, addresses and MAC addresses of a spec can be those of its machines: pure, and after expansion."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.fields import find_remote_host_problem
from bessemer.api.reasons import LENGTH_MISMATCH
from bessemer.machines.hostlists import can_slurm_count
from bessemer.phases.hosts import RESERVED_HOST_NAMES
from bessemer.phases.preflight_problem import Problem, parse_list

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LONGEST_NAME = 63
"""Of one label of DNS (RFC 1035); dnsmasq refuses a longer one, and Linux' own limit is 64."""
_ELSEWHERE = frozenset(
    {"localhost", "localdomain", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix"}
    | {"ip6-allnodes", "ip6-allrouters", "ip6-allhosts"}
)
"""Names that hosts files have for other things (Debian's netbase and installer)."""
_SLURM = frozenset({"default"})
"""Which slurm.conf takes for settings of all nodes. Source: https://slurm.schedmd.com/slurm.conf.html#OPT_NodeName"""
_NO_MAC = "00:00:00:00:00:00"
_NO_HOSTS: Mapping[IPv4Network, str] = {
    IPv4Network("0.0.0.0/8"): "this network",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}
"""Source: https://www.iana.org/assignments/iana-ipv4-special-registry and RFC 5771."""
NO_INTERFACES = {
    "lo": "loopback, which no node reaches",
    "all": "no interface, but all of them in sysctl",
    "default": "no interface, but a default in sysctl",
}
SHORTEST_PREFIX = 8
_SHOWN = 20
"""Names or addresses that one message lists."""


def decide_machine_problems(spec: ClusterBuildSpec) -> list[Problem]:
    """List what is wrong with names, addresses and MAC addresses, each after its hostlist is expanded."""
    problems: list[Problem] = []
    hosts = parse_list(spec.compute.hosts, "spec.compute.hosts", problems)
    addresses = parse_list(spec.compute.addresses, "spec.compute.addresses", problems)
    problems += _decide_lengths(hosts, addresses, len(spec.compute.macs))
    problems += _decide_names([spec.management.host, *(hosts or ())])
    problems += _decide_macs(spec)
    problems += _decide_remote_hosts(spec)
    return problems + list(_decide_addresses(spec, addresses or ()))


def find_other_use(address: IPv4Address) -> str | None:
    """Return what an address is for that no machine can have in a network; None for one that a machine can have."""
    return next((kind for network, kind in _NO_HOSTS.items() if address in network), None)


def _decide_lengths(hosts: tuple[str, ...] | None, addresses: tuple[str, ...] | None, macs: int) -> Iterator[Problem]:
    if hosts is None:
        return
    if addresses is not None and len(hosts) != len(addresses):
        text = f"spec.compute.addresses has {len(addresses)} entries for {len(hosts)} names of hosts"
        yield Problem(LENGTH_MISMATCH, text)
    if len(hosts) != macs:
        yield Problem(LENGTH_MISMATCH, f"spec.compute.macs has {macs} entries for {len(hosts)} names of hosts")


def _decide_names(hosts: list[str]) -> Iterator[Problem]:
    yield from _decide_duplicates("DuplicateHost", "host name", hosts)
    long = [f"{host[:40]}... ({len(host)} characters)" for host in hosts if len(host) > LONGEST_NAME]
    if long:
        text = f"host names of more than {LONGEST_NAME} characters: {_list(long)}"
        yield Problem("InvalidHostName", text)
    odd = [host for host in hosts if len(host) <= LONGEST_NAME and not _NAME.fullmatch(host)]
    if odd:
        text = f"no host names (letters, digits and hyphens inside): {_list(odd)}"
        yield Problem("InvalidHostName", text)
    large = [host for host in hosts if not can_slurm_count(host)]
    if large:
        yield Problem("InvalidHostName", f"host names that end in a number of more than 64 bits: {_list(large)}")
    for reserved, what in (
        (RESERVED_HOST_NAMES, "host name that is a group of the Ansible inventory"),
        (_ELSEWHERE, "host name that means something else in every hosts file"),
        (_SLURM, "host name that slurm.conf takes for settings of all nodes"),
    ):
        found = sorted(reserved.intersection(hosts))
        if found:
            yield Problem("ReservedHostName", f"{what}: {_list(found)}")


def _decide_macs(spec: ClusterBuildSpec) -> Iterator[Problem]:
    macs = [mac.lower() for mac in ([spec.management.mac] if spec.management.mac else []) + spec.compute.macs]
    real = [mac for mac in macs if mac != _NO_MAC]
    yield from _decide_duplicates("DuplicateMac", "MAC address", real)
    if len(real) < len(macs):
        yield Problem("InvalidMac", f"spec.management.mac, spec.compute.macs: {_NO_MAC} is no machine's MAC address")


def _decide_remote_hosts(spec: ClusterBuildSpec) -> Iterator[Problem]:
    boot_host, ssh = spec.boot_host, spec.management.ssh
    fields = [
        *([("spec.bootHost.ssh.address", boot_host.ssh.address)] if boot_host else []),
        *([("spec.management.ssh.address", ssh.address)] if ssh else []),
        ("spec.power.powerman.address", spec.power.powerman.address),
    ]
    for field, host in fields:
        wrong = find_remote_host_problem(host)
        if wrong:
            yield Problem("InvalidAddress", f"{field}: {host}: {wrong}")


def _decide_addresses(spec: ClusterBuildSpec, computes: tuple[str, ...]) -> Iterator[Problem]:
    own = IPv4Interface(spec.management.cluster_interface.address)
    fields = [
        *([("spec.bootHost.address", spec.boot_host.address)] if spec.boot_host else []),
        ("spec.management.address", spec.management.address),
        ("spec.management.clusterInterface.address", str(own.ip)),
        *(("spec.compute.addresses", address) for address in computes),
    ]
    yield from _decide_same(fields)
    yield from _decide_no_hosts(fields)
    yield from _decide_networks(spec, own, {str(own.ip), *computes})
    yield from _decide_outside(own, computes)


def _decide_same(fields: list[tuple[str, str]]) -> Iterator[Problem]:
    """Find addresses that stand twice, and name the fields in which they do."""
    where: dict[str, list[str]] = {}
    for field, address in fields:
        where.setdefault(address, []).append(field)
    alike: dict[str, list[str]] = {}
    for address, named in where.items():
        if len(named) > 1:
            alike.setdefault(" and ".join(dict.fromkeys(named)), []).append(address)
    for places, found in alike.items():
        text = f"{places}: {_list(found)} used more than once; every machine and interface needs its own"
        yield Problem("DuplicateAddress", text)


def _decide_no_hosts(fields: list[tuple[str, str]]) -> Iterator[Problem]:
    wrong: dict[tuple[str, str], list[str]] = {}
    for field, text in fields:
        address = _parse_address(text)
        if address is None:
            wrong.setdefault((field, "not an IPv4 address; IPv6 is not supported"), []).append(text)
            continue
        kind = find_other_use(address)
        if kind:
            wrong.setdefault((field, f"no address that a machine can have in a network: {kind}"), []).append(text)
    for (field, why), found in wrong.items():
        yield Problem("InvalidAddress", f"{field}: {_list(found)}: {why}")


def _decide_networks(spec: ClusterBuildSpec, own: IPv4Interface, taken: Collection[str]) -> Iterator[Problem]:
    field, network = "spec.management.clusterInterface.address", own.network
    if network.prefixlen < SHORTEST_PREFIX:
        yield Problem("InvalidAddress", f"{field}: {own}: the network is too large, /{SHORTEST_PREFIX} is the largest")
        return
    if own.ip in _list_nobodys(network):
        yield Problem("InvalidAddress", f"{field}: {own} is no address of a host in {network}")
    others = [("spec.management.address", spec.management.address)]
    others += [("spec.bootHost.address", spec.boot_host.address)] if spec.boot_host else []
    for other, address in others:
        if address not in taken and IPv4Address(address) in network:
            text = f"{other}: {address} is in {network}, the network of {field}; the two networks must differ"
            yield Problem("OverlappingNetworks", text)
    name = spec.management.cluster_interface.name
    if name in NO_INTERFACES:
        text = f"spec.management.clusterInterface.name: {name} is {NO_INTERFACES[name]}"
        yield Problem("InvalidInterface", text)


def _decide_outside(own: IPv4Interface, computes: Iterable[str]) -> Iterator[Problem]:
    """Find compute nodes that the management node's DHCP could not serve."""
    nobodys = _list_nobodys(own.network)
    known = [address for text in computes if (address := _parse_address(text))]
    outside = [str(address) for address in known if address not in own.network or address in nobodys]
    if outside:
        text = f"{_list(outside)}: no address of a host in {own.network} (spec.management.clusterInterface.address)"
        yield Problem("AddressOutsideNetwork", f"spec.compute.addresses: {text}")


def _list_nobodys(network: IPv4Network) -> tuple[IPv4Address, ...]:
    """List the addresses of a network that no host can have."""
    return (network.network_address, network.broadcast_address)


def _parse_address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ipaddress.AddressValueError:
        return None


def _decide_duplicates(reason: str, what: str, values: list[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    twice = {value for value in values if value in seen or seen.add(value)}  # type: ignore[func-returns-value]
    if twice:
        yield Problem(reason, f"{what} used more than once: {_list(sorted(twice))}")


def _list(values: list[str]) -> str:
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more

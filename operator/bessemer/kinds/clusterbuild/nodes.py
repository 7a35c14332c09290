"""The compute nodes in a build's status: carried over when the spec changes, updated when phases report.

Identical nodes are grouped, so that 480 installed nodes are one entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from bessemer.api.clusterbuild.spec import MAX_NODES, ClusterBuildSpec
from bessemer.api.clusterbuild.status import NodesStatus
from bessemer.api.phase_contract import NodeGroup, NodeState
from bessemer.machines.hostlists import MAX_ANSWERED, build_hostlists, parse_hostlist
from bessemer.phases.grouping import parse_node_groups

_FINGERPRINT_DIGITS = 8
INSTALLED_STATES = frozenset({NodeState.INSTALLED, NodeState.CONFIGURED, NodeState.READY})
"""States of a node whose operating system is installed."""


def parse_hosts(hosts: str, limit: int = MAX_NODES) -> tuple[str, ...]:
    """Return the hosts of a hostlist as written; an unreadable or too long one is empty, which Preflight reports."""
    try:
        return parse_hostlist(hosts, limit) if hosts else ()
    except ValueError:
        return ()


def build_groups(group_of: Mapping[str, NodeGroup]) -> list[NodeGroup]:
    """Return groups of identical hosts, ordered by state, then by the first host."""
    alike: dict[NodeGroup, list[str]] = {}
    for host, group in group_of.items():
        alike.setdefault(group.model_copy(update={"hosts": ""}), []).append(host)
    order = list(NodeState)
    groups = [
        key.model_copy(update={"hosts": hostlist})
        for key, hosts in alike.items()
        for hostlist in build_hostlists(hosts)
    ]
    return sorted(groups, key=lambda group: (order.index(group.state), group.hosts))


def compute_fingerprints(spec: ClusterBuildSpec) -> dict[str, str]:
    """Return for each node of the spec a short digest of everything with which it is installed."""
    compute = spec.compute
    hosts, addresses = parse_hosts(compute.hosts), parse_hosts(compute.addresses)
    common = compute.install.model_dump_json(exclude_defaults=True) + spec.ssh.model_dump_json(exclude_defaults=True)
    fingerprints = {}
    for index, host in enumerate(hosts):
        address = addresses[index] if index < len(addresses) else ""
        mac = compute.macs[index].lower() if index < len(compute.macs) else ""
        digest = hashlib.sha256(f"{host} {address} {mac} {common}".encode()).hexdigest()
        fingerprints[host] = digest[:_FINGERPRINT_DIGITS]
    return fingerprints


def carry_over(spec: ClusterBuildSpec, before: NodesStatus) -> NodesStatus:
    """Return the nodes according to the spec.

    New and changed nodes are Pending; nodes that are no longer in the spec must be removed.
    """
    wanted = compute_fingerprints(spec)
    if not wanted:  # an unreadable hostlist must not look like a spec without nodes
        return before.model_copy(update={"desired": len(spec.compute.macs)})
    group_of = parse_node_groups(before.groups, ())
    fingerprints_before = dict(zip(parse_hosts(before.hosts), _split(before.fingerprints), strict=False))
    pending = NodeGroup(hosts="", state=NodeState.PENDING)
    current = {
        host: group_of.get(host, pending) if fingerprints_before.get(host) == fingerprint else pending
        for host, fingerprint in wanted.items()
    }
    touched = {host for host, group in group_of.items() if group.state != NodeState.PENDING}
    removed = (set(parse_hosts(before.removed, MAX_ANSWERED)) | touched) - set(wanted)
    return before.model_copy(
        update={
            "desired": len(wanted),
            "groups": build_groups(current),
            "hosts": spec.compute.hosts,
            "fingerprints": "".join(wanted.values()),
            "removed": _build_removed(removed),
        }
    )


def merge_groups(nodes: NodesStatus, reported: Sequence[NodeGroup], *, outdated: bool = False) -> NodesStatus:
    """Return the nodes updated by the report of a phase; reported nodes that are not in the spec are ignored.

    Reports about Pending nodes are ignored, too, if the attempt had another input: they may describe an earlier node of
    the same name.
    """
    group_of = parse_node_groups(nodes.groups, ())
    concerned = {host for host, group in group_of.items() if not (outdated and group.state == NodeState.PENDING)}
    found = parse_node_groups(reported, list(group_of))
    group_of.update({host: group for host, group in found.items() if host in concerned})
    return nodes.model_copy(update={"groups": build_groups(group_of)})


def promote(nodes: NodesStatus, goal: NodeState, starting: frozenset[NodeState]) -> NodesStatus:
    """Return the nodes with every node in one of the starting states moved to the goal."""
    group_of = parse_node_groups(nodes.groups, ())
    done = NodeGroup(hosts="", state=goal)
    promoted = {host: done if group.state in starting else group for host, group in group_of.items()}
    return nodes.model_copy(update={"groups": build_groups(promoted)})


def count_nodes(nodes: NodesStatus, live: Iterable[NodeGroup]) -> NodesStatus:
    """Return the nodes counted by state; live reports of the running phase override those of finished phases."""
    group_of = parse_node_groups(nodes.groups, ())
    group_of.update(
        {host: group for host, group in parse_node_groups(list(live), list(group_of)).items() if host in group_of}
    )

    def count(holds: Callable[[NodeState], bool]) -> int:
        return sum(1 for group in group_of.values() if holds(group.state))

    return nodes.model_copy(
        update={
            "installed": count(lambda state: state in INSTALLED_STATES),
            "ready": count(lambda state: state == NodeState.READY),
            "failed": count(lambda state: state == NodeState.FAILED),
        }
    )


def describe_failed(nodes: NodesStatus) -> str:
    """Return the failed nodes with their reasons, such as ``oxygen[3,7]: NeverNetbooted``; empty if none failed."""
    return "; ".join(
        f"{group.hosts}: {group.reason or 'Failed'}" + (f" ({group.message})" if group.message else "")
        for group in nodes.groups
        if group.state == NodeState.FAILED
    )


def _build_removed(removed: Collection[str]) -> str:
    """Return the removed nodes as a hostlist; if they are too many for one, only the first ones (Slurm forgets all)."""
    return build_hostlists(sorted(removed)[:MAX_ANSWERED])[0] if removed else ""


def _split(fingerprints: str) -> list[str]:
    return [fingerprints[i : i + _FINGERPRINT_DIGITS] for i in range(0, len(fingerprints), _FINGERPRINT_DIGITS)]

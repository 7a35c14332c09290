"""The compute nodes of a build in its status: carried over when the spec changes, merged when phases report.

Nodes are kept as groups of alike ones, so that 480 installed nodes are one entry.
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
"""States of a node that has its operating system."""


def parse_hosts(hosts: str, limit: int = MAX_NODES) -> tuple[str, ...]:
    """Expand a hostlist in the order written; one that can't be read or is too long is empty: Preflight tells."""
    try:
        return parse_hostlist(hosts, limit) if hosts else ()
    except ValueError:
        return ()


def build_groups(group_of: Mapping[str, NodeGroup]) -> list[NodeGroup]:
    """Group hosts that are alike; the order is that of the states, then of the first host."""
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
    """Give, for each node of the spec, a short digest of all that it is installed with."""
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
    """Bring the nodes in line with the spec: new and changed ones are Pending, those that are not in the spec any more
    must be removed.
    """
    wanted = compute_fingerprints(spec)
    if not wanted:  # an unreadable hostlist must not look like one without nodes
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
    """Take over what a phase found of the nodes; nodes that are not of the spec are passed over.

    So are Pending ones where the attempt had another input: it may speak of a node of the same name as it was before.
    """
    group_of = parse_node_groups(nodes.groups, ())
    concerned = {host for host, group in group_of.items() if not (outdated and group.state == NodeState.PENDING)}
    found = parse_node_groups(reported, list(group_of))
    group_of.update({host: group for host, group in found.items() if host in concerned})
    return nodes.model_copy(update={"groups": build_groups(group_of)})


def promote(nodes: NodesStatus, goal: NodeState, starting: frozenset[NodeState]) -> NodesStatus:
    """Take every node that is in one of the starting states to the goal."""
    group_of = parse_node_groups(nodes.groups, ())
    done = NodeGroup(hosts="", state=goal)
    promoted = {host: done if group.state in starting else group for host, group in group_of.items()}
    return nodes.model_copy(update={"groups": build_groups(promoted)})


def count_nodes(nodes: NodesStatus, live: Iterable[NodeGroup]) -> NodesStatus:
    """Count nodes by state; what the running phase sees now goes before what finished phases found."""
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
    """Name the failed nodes with their reasons, such as ``oxygen[3,7]: NeverNetbooted``; empty where none failed."""
    return "; ".join(
        f"{group.hosts}: {group.reason or 'Failed'}" + (f" ({group.message})" if group.message else "")
        for group in nodes.groups
        if group.state == NodeState.FAILED
    )


def _build_removed(removed: Collection[str]) -> str:
    """Fold the removed nodes; of so many that they don't fit into one hostlist, the first ones (Slurm forgets all)."""
    return build_hostlists(sorted(removed)[:MAX_ANSWERED])[0] if removed else ""


def _split(fingerprints: str) -> list[str]:
    return [fingerprints[i : i + _FINGERPRINT_DIGITS] for i in range(0, len(fingerprints), _FINGERPRINT_DIGITS)]

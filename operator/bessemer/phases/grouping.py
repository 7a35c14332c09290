"""Folding nodes that are alike into groups, and results into the 4096 bytes of a termination message. All pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bessemer.api.phase_contract import TERMINATION_MESSAGE_LIMIT, NodeGroup, NodeState, PhaseResult
from bessemer.machines.hostlists import build_hostlist, build_hostlists, parse_hostlist

OTHER_NODES = "*"
"""Hostlist of a group that stands for all nodes of the build that no other group names; used where names don't fit."""
POSITIONS = "#"
"""First character of a hostlist that tells nodes by their places among all nodes of the build, sorted: a digest of
these names, a colon, and one bit for each node in base64. Used where even the names of the fewest don't fit."""
SEVERAL = "Several"
"""Reason of a group whose nodes failed for several reasons, where these don't fit."""
SHORT_MESSAGE = 200
"""Characters of a message that is cut to make room."""


@dataclass(frozen=True)
class NodeOutcome:
    """What became of one node."""

    host: str
    state: NodeState
    reason: str | None = None
    message: str | None = None
    attempt: int | None = None


def build_node_groups(outcomes: Iterable[NodeOutcome]) -> list[NodeGroup]:
    """Fold nodes that are alike in every respect into groups, in the order of their first nodes."""
    alike: dict[tuple[NodeState, str | None, str | None, int | None], list[str]] = {}
    for node in outcomes:
        message = node.message[:1024] if node.message else None
        alike.setdefault((node.state, node.reason, message, node.attempt), []).append(node.host)
    return [
        NodeGroup(hosts=hostlist, state=state, reason=reason, message=message, attempt=attempt)
        for (state, reason, message, attempt), hosts in alike.items()
        for hostlist in build_hostlists(hosts)
    ]


def parse_node_groups(groups: Iterable[NodeGroup], all_hosts: Sequence[str]) -> dict[str, NodeGroup]:
    """Return for each node which group it is in; a group ``*`` takes all of ``all_hosts`` that no other group names.

    Places are understood only if ``all_hosts`` are those that they were counted in.

    A group that can't be read, or names more machines than a build may have, is passed over: what runs in a pod must
    not be able to stop the operator.
    """
    found: dict[str, NodeGroup] = {}
    groups = list(groups)
    others = [group for group in groups if group.hosts == OTHER_NODES]
    for group in groups:
        if group.hosts != OTHER_NODES:
            found |= dict.fromkeys(_read_hosts(group, all_hosts), group)
    for group in others:
        found |= {host: group for host in all_hosts if host not in found}
    return found


def _read_hosts(group: NodeGroup, all_hosts: Sequence[str] = ()) -> tuple[str, ...]:
    try:
        if group.hosts.startswith(POSITIONS):
            return _read_positions(group.hosts, sorted(set(all_hosts)))
        return parse_hostlist(group.hosts)
    except ValueError:
        return ()


def _build_positions(hosts: Iterable[str], all_hosts: Sequence[str]) -> str:
    marked = set(hosts)
    bits = sum(1 << place for place, host in enumerate(all_hosts) if host in marked)
    encoded = base64.b64encode(bits.to_bytes(len(all_hosts) // 8 + 1, "little")).decode()
    return f"{POSITIONS}{_digest(all_hosts)}:{encoded}"


def _read_positions(text: str, all_hosts: Sequence[str]) -> tuple[str, ...]:
    """Return the nodes in their places; none where the places were counted among other nodes."""
    digest, _, encoded = text.removeprefix(POSITIONS).partition(":")
    if digest != _digest(all_hosts):
        return ()
    bits = int.from_bytes(base64.b64decode(encoded, validate=True), "little")
    return tuple(host for place, host in enumerate(all_hosts) if bits >> place & 1)


def _digest(hosts: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(hosts).encode()).hexdigest()[:8]


def build_termination_message(result: PhaseResult) -> bytes:
    """Render a result as JSON."""
    return result.model_dump_json(by_alias=True, exclude_none=True).encode()


def shrink_result(
    result: PhaseResult, known: Sequence[NodeGroup] = (), limit: int = TERMINATION_MESSAGE_LIMIT
) -> PhaseResult:
    """Cut a result until its JSON has at most ``limit`` bytes: first what is for people, last who failed.

    Args:
        result: what the phase came to.
        known: all nodes of the build as they were before; those that the phase didn't deal with keep their states.
        limit: bytes.
    """
    for shrunk in _shrink(result, known):
        if len(build_termination_message(shrunk)) <= limit:
            return shrunk
    return PhaseResult(succeeded=result.succeeded, reason=result.reason, retryable=result.retryable)


def _shrink(result: PhaseResult, known: Sequence[NodeGroup]) -> Iterator[PhaseResult]:
    """Return ever smaller versions of a result."""
    yield result
    for length in (400, 100):
        jobs = [job.model_copy(update={"output_tail": job.output_tail[-length:]}) for job in result.jobs]
        result = result.model_copy(update={"jobs": jobs})
        yield result
    result = result.model_copy(update={"message": result.message[:1000], "nodes": _merge(result.nodes, SHORT_MESSAGE)})
    yield result
    cut = [job.model_copy(update={"output_tail": "", "message": job.message[:100]}) for job in result.jobs]
    result = result.model_copy(update={"message": result.message[:400], "jobs": cut, "nodes": _merge(result.nodes, 0)})
    yield result
    everybody = [*result.nodes, *_select_untouched(known, result.nodes)] if result.nodes else []
    yield result.model_copy(update={"nodes": _name_fewest(_merge(everybody, 0))})
    merged = _merge_by(everybody, lambda group: (group.state,))
    jobs = [job.model_copy(update={"nodes": "", "message": ""}) for job in result.jobs]
    result = result.model_copy(update={"jobs": jobs, "nodes": _name_fewest(merged)})
    yield result
    yield result.model_copy(update={"nodes": _place(merged)})
    yield result.model_copy(update={"nodes": _place(merged), "jobs": []})


def _select_untouched(known: Sequence[NodeGroup], reported: Sequence[NodeGroup]) -> list[NodeGroup]:
    """Return what is known of the nodes that the phase doesn't report, so that ``*`` can't be taken for them."""
    named = {host for group in reported for host in _read_hosts(group)}
    left = [(group, [host for host in _read_hosts(group) if host not in named]) for group in known]
    return [
        group.model_copy(update={"hosts": build_hostlist(hosts), "message": None}) for group, hosts in left if hosts
    ]


def _merge(groups: Sequence[NodeGroup], message_length: int) -> list[NodeGroup]:
    """Merge groups of the same state and reason; the first one's message, cut, stands for all."""
    merged = _merge_by(groups, lambda group: (group.state, group.reason))
    return [
        group.model_copy(
            update={"message": group.message[:message_length] if group.message and message_length else None}
        )
        for group in merged
    ]


def _merge_by(groups: Sequence[NodeGroup], key: Callable[[NodeGroup], tuple[object, ...]]) -> list[NodeGroup]:
    alike: dict[tuple[object, ...], list[NodeGroup]] = {}
    for group in groups:
        alike.setdefault(key(group), []).append(group)
    return [_merge_groups(members) for members in alike.values()]


def _merge_groups(members: Sequence[NodeGroup]) -> NodeGroup:
    """Merge groups; one whose hostlist is too long for a group is too long for a termination message as well."""
    first = members[0]
    hosts = [host for group in members for host in _read_hosts(group)]
    return first.model_copy(
        update={
            "hosts": build_hostlist(hosts),
            "reason": first.reason if len({group.reason for group in members}) == 1 else SEVERAL,
            "attempt": max((group.attempt for group in members if group.attempt), default=None),
        }
    )


def _place(groups: Sequence[NodeGroup]) -> list[NodeGroup]:
    """Tell nodes by their places: at most one bit for each node in each group."""
    hosts_of = [(group, _read_hosts(group)) for group in groups]
    all_hosts = sorted({host for _, hosts in hosts_of for host in hosts})
    return [
        group.model_copy(update={"hosts": _build_positions(hosts, all_hosts), "message": None})
        for group, hosts in hosts_of
    ]


def _name_fewest(groups: Sequence[NodeGroup]) -> list[NodeGroup]:
    """Replace the longest hostlist by ``*``."""
    longest = max(groups, key=lambda group: len(group.hosts), default=None)
    return [group.model_copy(update={"hosts": OTHER_NODES}) if group is longest else group for group in groups]

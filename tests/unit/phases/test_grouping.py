"""Groups of nodes, and results that fit into a termination message whatever happened."""

from __future__ import annotations

import itertools
import json
import math
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bessemer.api.clusterbuild.status import NodesStatus
from bessemer.api.phase_contract import TERMINATION_MESSAGE_LIMIT, JobResult, NodeGroup, NodeState, PhaseResult
from bessemer.foreign import make_line
from bessemer.kinds.clusterbuild.nodes import merge_groups
from bessemer.phases.grouping import (
    NodeOutcome,
    build_node_groups,
    build_termination_message,
    parse_node_groups,
    shrink_result,
)
from tests.support.examples import examples

REASONS = [None, "NeverPoweredOn", "NeverNetbooted", "InstallFailed", "NeverReachable"]
OUTCOMES = st.builds(
    lambda reason, message, attempt: (reason, message if reason else None, attempt),
    st.sampled_from(REASONS),
    st.text(max_size=60).map(lambda text: make_line(text, len(text))),
    st.integers(1, 3),
)


def build_outcomes(kinds: list[tuple[str | None, str | None, int]], prefix: str) -> list[NodeOutcome]:
    return [
        NodeOutcome(
            f"{prefix}{number}", NodeState.FAILED if reason else NodeState.INSTALLED, reason, message or None, attempt
        )
        for number, (reason, message, attempt) in enumerate(kinds)
    ]


@given(st.lists(OUTCOMES, min_size=1, max_size=60))
def test_groups_lose_nothing(kinds: list[tuple[str | None, str | None, int]]) -> None:
    outcomes = build_outcomes(kinds, "oxygen")
    found = parse_node_groups(build_node_groups(outcomes), [])
    assert {host: (group.state, group.reason, group.message, group.attempt) for host, group in found.items()} == {
        node.host: (node.state, node.reason, node.message, node.attempt) for node in outcomes
    }


def build_names(dimensions: int, prefix: str, count: int) -> list[str]:
    """Name nodes by as many numbers, such as rack-1-chassis2-blade1-node3."""
    words = ("rack", "chassis", "blade", "node")[:dimensions]
    side = math.ceil(count ** (1 / dimensions))
    places = itertools.islice(itertools.product(range(1, side + 1), repeat=dimensions), count)
    return [prefix + "-".join(f"{word}{n}" for word, n in zip(words, place, strict=True)) for place in places]


@settings(max_examples=examples(25), deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    bad=st.floats(0, 1),
    dimensions=st.integers(1, 4),
    count=st.sampled_from([1, 7, 300, 1024]),
    prefix=st.sampled_from(["", "a-rather-long-name-for-a-node-", "datacentre-east-"]),
    message=st.text(max_size=2048),
)
@example(seed=1, bad=0.5, dimensions=4, count=1024, prefix="datacentre-east-", message="m")
def test_results_of_1024_nodes_fit_and_tell_who_is_installed(
    seed: int, bad: float, dimensions: int, count: int, prefix: str, message: str
) -> None:
    chance = Random(seed)  # noqa: S311  data, not secrets
    hosts = build_names(dimensions, prefix, count)
    outcomes = [
        NodeOutcome(host, NodeState.FAILED, chance.choice(REASONS[1:]), f"message {chance.random()}", 2)
        if chance.random() < bad
        else NodeOutcome(host, chance.choice([NodeState.INSTALLED, NodeState.DRAINED]), attempt=1)
        for host in hosts
    ]
    result = PhaseResult(
        succeeded=False, reason="TooFewNodes", retryable=True, message=message, nodes=build_node_groups(outcomes)
    )
    rendered = build_termination_message(shrink_result(result))
    assert len(rendered) <= TERMINATION_MESSAGE_LIMIT
    read = PhaseResult.model_validate_json(rendered)
    assert (read.succeeded, read.reason, read.retryable) == (False, "TooFewNodes", True)
    found = parse_node_groups(read.nodes, hosts)
    assert {host: group.state for host, group in found.items()} == {node.host: node.state for node in outcomes}
    nodes = carry_over_groups(hosts, read.nodes)
    assert len(nodes.groups) <= 1024
    NodesStatus.model_validate(nodes.to_api())


def carry_over_groups(hosts: list[str], reported: list[NodeGroup]) -> NodesStatus:
    """Return what the status comes to hold when a phase reports on nodes that were pending."""
    pending = build_node_groups(NodeOutcome(host, NodeState.PENDING) for host in hosts)
    merged = merge_groups(NodesStatus(groups=pending), reported)
    known = parse_node_groups(merged.groups, ())
    assert set(known) == set(hosts)
    assert NodeState.PENDING not in {group.state for group in known.values()}
    return merged


def test_places_among_other_nodes_are_not_believed() -> None:
    hosts = build_names(4, "datacentre-east-rack-in-the-far-corner-", 1024)
    chance = Random(3)  # noqa: S311  data, not secrets
    result = PhaseResult(
        succeeded=True,
        reason="Succeeded",
        nodes=build_node_groups(
            NodeOutcome(host, chance.choice([NodeState.INSTALLED, NodeState.FAILED])) for host in hosts
        ),
    )
    shrunk = shrink_result(result)
    assert len(parse_node_groups(shrunk.nodes, hosts[::-1])) == 1024
    assert parse_node_groups(shrunk.nodes, hosts[1:]) == {}


def test_a_group_of_too_many_machines_is_passed_over() -> None:
    groups = [NodeGroup(hosts=text, state=NodeState.READY) for text in ("n[1-99999999]", "#0:!", "n[", "n1")]
    assert set(parse_node_groups(groups, ["n1", "n2"])) == {"n1"}


def test_a_small_result_is_told_whole() -> None:
    outcomes = [NodeOutcome("n1", NodeState.INSTALLED, attempt=1), NodeOutcome("n2", NodeState.FAILED, "X", "why", 2)]
    result = PhaseResult(succeeded=True, reason="Succeeded", nodes=build_node_groups(outcomes))
    assert shrink_result(result) == result
    assert PhaseResult.model_validate_json(build_termination_message(result)) == result


def test_all_other_nodes_are_never_those_that_the_phase_did_not_deal_with() -> None:
    hosts = [f"node{number}" for number in range(1000, 3048, 2)]
    untouched = hosts[::8]
    known = build_node_groups(
        NodeOutcome(host, NodeState.FAILED, "NeverNetbooted")
        if host in untouched
        else NodeOutcome(host, NodeState.CONFIGURED, attempt=1 + number % 2)
        for number, host in enumerate(hosts)
    )
    reasons = {host: "NotInSlurm" if number % 2 else None for number, host in enumerate(hosts)}
    outcomes = [
        NodeOutcome(host, NodeState.FAILED if reason else NodeState.READY, reason, f"{host}: DOWN" if reason else None)
        for host, reason in reasons.items()
        if host not in untouched
    ]
    result = PhaseResult(succeeded=False, reason="TooFewNodes", nodes=build_node_groups(outcomes))
    shrunk = shrink_result(result, known)
    assert len(build_termination_message(shrunk)) <= TERMINATION_MESSAGE_LIMIT
    assert any(group.hosts == "*" for group in shrunk.nodes)
    after = parse_node_groups(shrunk.nodes, hosts)
    assert {host: after[host].reason for host in hosts} == reasons | dict.fromkeys(untouched, "NeverNetbooted")


def test_outputs_of_jobs_are_cut_before_nodes_are() -> None:
    jobs = [
        JobResult(name=f"job{number}", passed=True, state="COMPLETED", nodes="n[1-9]", output_tail="o" * 1024)
        for number in range(16)
    ]
    outcomes = [NodeOutcome("n1", NodeState.FAILED, "InstallFailed", "no disk")]
    result = PhaseResult(succeeded=True, reason="Succeeded", jobs=jobs, nodes=build_node_groups(outcomes))
    rendered = json.loads(build_termination_message(shrink_result(result)))
    assert len(json.dumps(rendered)) <= TERMINATION_MESSAGE_LIMIT + 500
    assert rendered["nodes"][0]["hosts"] == "n1"
    assert [job["passed"] for job in rendered["jobs"]] == [True] * 16

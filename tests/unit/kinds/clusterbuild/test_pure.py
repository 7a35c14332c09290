"""Names, digests, nodes, back-off, elapsed time: small pure parts, many of them by property."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.api.base import parse_lenient
from bessemer.api.clusterbuild.limits import Retries
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.clusterbuild.status import ClusterBuildStatus, NodesStatus
from bessemer.api.names import DNS_LABEL_LIMIT, attempt_name, build_label_value, secret_name
from bessemer.api.phase_contract import NodeGroup, NodeState, PhaseName
from bessemer.engine.settings import parse_settings
from bessemer.errors import Invalid
from bessemer.kinds.clusterbuild.digests import compute_input_digest
from bessemer.kinds.clusterbuild.ledger import back_off_seconds
from bessemer.kinds.clusterbuild.nodes import build_groups, carry_over, count_nodes, merge_groups, parse_hosts
from bessemer.kinds.clusterbuild.status import format_elapsed
from bessemer.phases.preflight_checks import build_result, decide_spec_problems
from tests.support.world import World, manifest

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OBJECT_NAMES = st.from_regex(
    r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?){0,3}", fullmatch=True
)
LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


def spec(**changes: Any) -> ClusterBuildSpec:
    return ClusterBuildSpec.model_validate(manifest(**changes)["spec"])


@given(OBJECT_NAMES, st.sampled_from(PhaseName), st.integers(1, 10_000))
def test_names_are_always_valid_labels(name: str, phase: PhaseName, attempt: int) -> None:
    for made in (attempt_name(name, phase, attempt), secret_name(name), build_label_value(name)):
        assert len(made) <= DNS_LABEL_LIMIT
        assert re.fullmatch(LABEL, made)


@given(st.lists(st.tuples(OBJECT_NAMES, st.sampled_from(PhaseName), st.integers(1, 99)), unique=True, max_size=20))
def test_different_attempts_of_different_builds_never_share_a_name(attempts: list[tuple[str, PhaseName, int]]) -> None:
    assert len({attempt_name(*attempt) for attempt in attempts}) == len(attempts)


def test_a_short_name_is_used_as_it_is() -> None:
    assert attempt_name("oxygen", PhaseName.BOOT_COMPUTE, 2) == "oxygen-boot-compute-2"


@given(st.integers(0, 50), st.integers(0, 600), st.integers(0, 3600))
def test_a_back_off_grows_and_is_bounded(failures: int, first: int, longest: int) -> None:
    retries = Retries(back_off_seconds=first, max_back_off_seconds=max(first, longest))
    wait = back_off_seconds(failures, retries)
    assert 0 <= wait <= retries.max_back_off_seconds
    assert wait <= back_off_seconds(failures + 1, retries)


@given(st.dictionaries(st.integers(1, 300).map(lambda n: f"oxygen{n}"), st.sampled_from(NodeState), min_size=1))
def test_grouping_loses_no_node_and_changes_none(states: dict[str, NodeState]) -> None:
    groups = build_groups({host: NodeGroup(hosts="", state=state) for host, state in states.items()})
    assert {host: group.state for group in groups for host in parse_hosts(group.hosts)} == states
    assert len(groups) == len(set(states.values()))


def test_an_unreadable_hostlist_is_not_taken_for_one_without_nodes() -> None:
    before = carry_over(spec(), NodesStatus())
    broken = spec().model_copy(update={"compute": spec().compute.model_copy(update={"hosts": "oxygen[2-"})})
    after = carry_over(broken, before)
    assert (after.removed, after.groups, after.desired) == ("", before.groups, 4)


def test_a_report_about_all_other_nodes_is_understood() -> None:
    nodes = carry_over(spec(), NodesStatus())
    failed = NodeGroup(hosts="oxygen3", state=NodeState.FAILED, reason="InstallStalled")
    merged = merge_groups(nodes, [failed, NodeGroup(hosts="*", state=NodeState.INSTALLED)])
    counted = count_nodes(merged, [])
    assert (counted.installed, counted.failed) == (3, 1)


def test_a_report_of_an_attempt_with_another_input_is_not_about_nodes_that_are_new() -> None:
    nodes = carry_over(spec(), NodesStatus())
    known = merge_groups(nodes, [NodeGroup(hosts="oxygen[2-3]", state=NodeState.INSTALLED)])
    merged = merge_groups(known, [NodeGroup(hosts="*", state=NodeState.CONFIGURED)], outdated=True)
    assert [(group.hosts, group.state) for group in merged.groups] == [
        ("oxygen[4-5]", NodeState.PENDING),
        ("oxygen[2-3]", NodeState.CONFIGURED),
    ]


def test_a_report_about_foreign_nodes_is_passed_over() -> None:
    nodes = carry_over(spec(), NodesStatus())
    assert merge_groups(nodes, [NodeGroup(hosts="neon1", state=NodeState.INSTALLED)]).groups == nodes.groups


@pytest.mark.parametrize(
    ("changes", "touched"),
    [
        ({"verify": {"jobs": [{"name": "a", "script": "x"}]}}, {"Verify"}),
        ({"services": ["trino"]}, {"Preflight", "ConfigureServices"}),
        ({"compute": {"minReady": "50%"}}, {"BootCompute"}),
        ({"deadlines": {"installSeconds": 60}}, set()),
        ({"retries": {"nodeAttempts": 5}, "onDelete": "PowerOff"}, set()),
        ({"management": {"install": {"disk": "/dev/sdb"}}}, {"Preflight", "BootManagement", "ConfigureManagement"}),
        ({"power": {"powerman": {"port": 1}}}, {"Preflight", "ConfigureManagement"}),
    ],
)
def test_a_change_touches_the_phases_that_it_matters_to(changes: dict[str, object], touched: set[str]) -> None:
    phases = [phase for phase in PhaseName if phase != PhaseName.CLEANUP]
    before, after = spec(), spec(**changes)
    differ = {
        phase.value
        for phase in phases
        if compute_input_digest(phase, before, {}) != compute_input_digest(phase, after, {})
    }
    assert differ == touched


def test_writing_a_default_out_changes_no_digest() -> None:
    written = spec(compute={"maxConcurrent": 32}, onDelete="Keep", management={"provision": True})
    for phase in (PhaseName.PREFLIGHT, PhaseName.BOOT_MANAGEMENT, PhaseName.BOOT_COMPUTE):
        assert compute_input_digest(phase, spec(), {}) == compute_input_digest(phase, written, {})


@pytest.mark.parametrize(
    ("seconds", "ended", "text"),
    [(0, True, "0s"), (59, True, "59s"), (250, True, "4m10s"), (3730, True, "1h02m10s"), (257, False, "4m10s")],
)
def test_elapsed_time_is_short_and_steady_while_work_goes_on(seconds: int, ended: bool, text: str) -> None:
    now = NOW + timedelta(seconds=seconds)
    assert format_elapsed(NOW, now if ended else None, now) == text


def test_a_status_of_another_version_is_read_as_far_as_it_can_be() -> None:
    status = parse_lenient(
        ClusterBuildStatus, {"observedGeneration": 3, "jobs": "not a list", "phases": [{"name": "Nonsense"}]}
    )
    assert (status.observed_generation, status.jobs, status.phases) == (3, [], [])


def test_settings_name_the_variable_that_is_wrong() -> None:
    good = {"BESSEMER_IMAGE": "i", "BESSEMER_NAMESPACE": "n", "BESSEMER_IDENTITY": "me", "BESSEMER_LISTEN_PORT": "1"}
    assert parse_settings(good).listen_port == 1
    with pytest.raises(Invalid, match="BESSEMER_LISTEN_PORT must be a whole number"):
        parse_settings({**good, "BESSEMER_LISTEN_PORT": "http"})
    with pytest.raises(Invalid, match="BESSEMER_IMAGE must be set"):
        parse_settings({})


def test_a_spec_that_names_far_too_many_machines_keeps_what_is_known_of_the_nodes() -> None:
    before = carry_over(spec(), NodesStatus())
    after = carry_over(spec(compute={"hosts": "oxygen[1-99999999]"}), before)
    assert (after.groups, after.removed) == (before.groups, "")


def test_far_too_many_machines_end_in_preflight_and_not_in_the_operator(world: World) -> None:
    raw = manifest(compute={"hosts": "oxygen[1-99999999]", "addresses": "10.141.[0-255].[0-255]"})
    told = build_result(decide_spec_problems(ClusterBuildSpec.model_validate(raw["spec"])))
    world.results["Preflight"] = told.to_api()
    world.apply(raw)
    world.settle()
    ready = world.condition("Ready")
    assert ready[:2] == ("False", "InvalidHostlist")
    assert "spec.compute.hosts: 'oxygen[1-99999999]' names more than 1024 machines" in ready[2]
    assert "spec.compute.addresses: '10.141.[0-255].[0-255]' names more than 1024 machines" in ready[2]

"""Who may take which job, in what order, and whose stamps change."""

from __future__ import annotations

from typing import Any

import pytest

from gitlab_simulator.matching import compute_fits, compute_is_protected, compute_serves
from gitlab_simulator.model import Project
from gitlab_simulator.queues import claim_job, heartbeat
from gitlab_simulator.runners import RejectedError, create_runner
from gitlab_simulator.spec import RunnerSpec
from gitlab_simulator.stamps import RECENT_SECONDS, STAMP_SECONDS, ensure_stamp, read_stamp
from scenes import add_jobs, add_runner, build_state


@pytest.mark.parametrize(
    ("runner", "tags", "fits"),
    [
        ({"tag_list": ["a", "b"]}, ["a"], True),
        ({"tag_list": ["a"]}, ["a", "b"], False),
        ({"tag_list": ["a"]}, [], True),
        ({"tag_list": ["a"], "run_untagged": False}, [], False),
        ({"tag_list": ["a"], "run_untagged": False}, ["a"], True),
        ({"tag_list": ["A"]}, ["a"], False),
    ],
)
def test_a_runner_needs_all_tags_of_a_job(runner: dict[str, Any], tags: list[str], fits: bool) -> None:
    state = build_state()
    (job,) = add_jobs(state, {"tags": tags})
    assert compute_fits(add_runner(state, **runner), job) is fits


def test_a_runner_for_protected_refs_takes_no_job_of_others() -> None:
    state = build_state()
    runner = add_runner(state, access_level="ref_protected")
    (protected,), (other,) = add_jobs(state, ref="main"), add_jobs(state, ref="feature")
    assert compute_fits(runner, protected)
    assert not compute_fits(runner, other)


@pytest.mark.parametrize(
    ("ref", "tag", "protected"),
    [("main", False, True), ("main", True, False), ("v1.2", True, True), ("v1.2", False, False)],
)
def test_rules_hold_for_branches_or_tags_with_wildcards(ref: str, tag: bool, protected: bool) -> None:
    project = Project(1, "a/b", protected_tags=["v*"])
    assert compute_is_protected(project, ref, tag=tag) is protected


def test_a_group_runner_serves_subgroups_but_no_group_whose_name_only_begins_alike() -> None:
    state = build_state("hpc/deep/er/sim", "hpc2/sim")
    group = state.find_group("hpc")
    assert group is not None
    runner = add_runner(state, "group_type", group_id=group.id)
    served = [p.full_path for p in state.projects.values() if compute_serves(runner, p, state.groups)]
    assert served == ["hpc/deep/er/sim"]


def test_instance_runners_take_turns_between_projects_and_others_go_by_age() -> None:
    state = build_state("a/one", "a/two")
    first, second = add_jobs(state, {}, {}, project="a/one")
    (other,) = add_jobs(state, project="a/two")
    runner = add_runner(state)
    manager = heartbeat(state, runner, "r_1", {}, "")
    taken = [claim_job(state, runner, manager, "test") for _ in range(4)]
    assert taken == [first, other, second, None]

    group = state.find_group("a")
    assert group is not None
    jobs = [*add_jobs(state, {}, {}, project="a/one"), *add_jobs(state, project="a/two")]
    own = add_runner(state, "group_type", group_id=group.id)
    manager = heartbeat(state, own, "r_2", {}, "")
    assert [claim_job(state, own, manager, "test") for _ in range(3)] == jobs


def test_a_pending_job_changes_the_stamps_of_matching_runners_also_of_paused_ones() -> None:
    state = build_state()
    matching, paused = add_runner(state, tag_list="gpu"), add_runner(state, tag_list=["gpu"], paused=True)
    other, silent = add_runner(state, run_untagged=True), add_runner(state, tag_list=["gpu"])
    silent.contacted_at = state.clock.now() - RECENT_SECONDS
    runners = (matching, paused, other, silent)
    before = [ensure_stamp(state, runner.token) for runner in runners]
    add_jobs(state, {"tags": ["gpu"]})
    changed = [read_stamp(state, runner.token) != stamp for runner, stamp in zip(runners, before, strict=True)]
    assert changed == [True, True, False, False]


def test_a_stamp_ends_when_no_caller_asks_for_it() -> None:
    state = build_state()
    runner = add_runner(state)
    stamp = ensure_stamp(state, runner.token)
    state.clock.advance(STAMP_SECONDS)
    assert read_stamp(state, runner.token) is None
    assert ensure_stamp(state, runner.token) != stamp


@pytest.mark.parametrize("fields", [{"run_untagged": False}, {"maximum_timeout": 599}, {"tag_list": ["x" * 256]}])
def test_runners_that_gitlab_would_refuse_are_refused(fields: dict[str, Any]) -> None:
    state = build_state()
    with pytest.raises(RejectedError):
        create_runner(state, RunnerSpec(runner_type="instance_type", **fields))
    assert not state.runners

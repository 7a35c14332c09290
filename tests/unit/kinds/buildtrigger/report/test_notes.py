"""The note on a merge request, its discussion, and deployments."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.gitlab.protocol import GitLabNotFound, GitLabRejected
from bessemer.gitlab.reports import MergeRequest, Note, Pipeline, Target
from bessemer.kinds.buildtrigger.report.note import BLOCK_CHARACTERS, BLOCK_LINES, quote, render_block, render_plan
from bessemer.kinds.buildtrigger.report.targets import adjust_target
from tests.support.trigger_world import TriggerWorld, build_manifest, push_body

WHOLE = "bessemer/site"


async def begin(world: TriggerWorld, *, from_fork: bool = False) -> str:
    """Push a manifest to the branch of merge request !3; return the commit."""
    commit = world.push("one", oxygen=build_manifest())
    world.reports.merge_requests[3] = MergeRequest(3, commit, from_fork)
    await world.take(push_body(commit))
    await world.settle()
    return commit


def get_note(world: TriggerWorld) -> Note:
    """Return the only note."""
    (note,) = world.reports.notes[3].values()
    return note


async def test_one_note_is_kept_up_to_date(world: TriggerWorld) -> None:
    await begin(world)
    assert "Building" in get_note(world).body
    world.work(Preflight="Succeeded", BootManagement="Running")
    world.pass_time(30)
    await world.settle()
    assert "| ✔ | Preflight |" in get_note(world).body
    assert "| ▶ | BootManagement | since 06:00 UTC |" in get_note(world).body
    world.end_build()
    await world.settle()
    assert "Succeeded" in get_note(world).body


async def test_edits_have_a_pause_and_the_last_one_has_none(world: TriggerWorld) -> None:
    await begin(world)
    for state in ("Running", "Succeeded") * 5:
        world.work(Preflight=state)
        await world.settle()
    assert world.reports.calls.count("update_note") == 0
    assert await world.step() == pytest.approx(30)
    world.end_build()
    await world.settle()
    assert world.reports.calls.count("update_note") == 1


async def test_a_note_that_a_user_deleted_is_written_again(world: TriggerWorld) -> None:
    await begin(world)
    world.reports.notes[3].clear()
    world.end_build()
    await world.settle()
    assert "Succeeded" in get_note(world).body


async def test_another_operator_process_finds_its_note(world: TriggerWorld) -> None:
    await begin(world)
    first = get_note(world).id
    await world.restart_operator()
    world.end_build()
    await world.settle()
    assert get_note(world).id == first
    assert "Succeeded" in get_note(world).body


async def test_a_later_commit_takes_the_note_over(world: TriggerWorld) -> None:
    await begin(world)
    world.end_build()
    await world.settle()
    world.pass_time(60)
    commit = world.push("two", oxygen=build_manifest())
    world.reports.merge_requests[3] = MergeRequest(3, commit, from_fork=False)
    await world.take(push_body(commit))
    await world.settle()
    assert commit[:12] in get_note(world).body


async def test_the_commit_of_a_merge_is_told_in_its_merge_request(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    world.reports.merge_requests[3] = MergeRequest(3, "9" * 40, from_fork=False)
    world.reports.results[commit] = 3
    await world.take(push_body(commit))
    await world.settle()
    assert commit[:12] in get_note(world).body


async def test_a_plan_is_told_as_valid(world: TriggerWorld) -> None:
    await world.apply(rules=[{"name": "main", "push": {"branches": ["main"]}, "mode": "Plan"}])
    commit = await begin(world)
    assert "Planned" in get_note(world).body
    assert get_note(world).body.count("| oxygen: new; installs oxygen[1-5]") == 1
    assert world.reports.states(commit) == {WHOLE: "success"}


async def test_a_forks_commit_has_a_note_where_it_can_have_no_status(world: TriggerWorld) -> None:
    world.reports.errors["set_status"] = GitLabNotFound("404 Pipeline Not Found")
    await begin(world, from_fork=True)
    assert "Building" in get_note(world).body
    assert world.condition("Reporting") == ("False", "GitLabNotFound")


HEAD = Pipeline(9, "1" * 40, "refs/merge-requests/3/head")


@pytest.mark.parametrize(
    ("ref", "request_", "expected"),
    [
        ("refs/merge-requests/3/head", MergeRequest(3, "1" * 40, True, "x"), ("refs/merge-requests/3/head", None)),
        ("refs/merge-requests/3/head", MergeRequest(3, "1" * 40, False, "x"), ("x", None)),
        ("refs/merge-requests/3/head", MergeRequest(3, "1" * 40, False, "x", HEAD), (HEAD.ref, 9)),
        ("refs/merge-requests/3/head", MergeRequest(3, "1" * 40, True, "x", HEAD), (HEAD.ref, None)),
        ("x", MergeRequest(3, "1" * 40, False, "x", HEAD), (HEAD.ref, 9)),
        ("other", MergeRequest(3, "1" * 40, False, "x", HEAD), ("other", None)),
        ("x", MergeRequest(3, "1" * 40, True, "x", HEAD), ("x", None)),
        ("x", MergeRequest(3, "2" * 40, False, "x", HEAD), ("x", None)),
    ],
)
def test_statuses_go_where_the_merge_request_waits_for_them(
    ref: str, request_: MergeRequest, expected: tuple[str, int | None]
) -> None:
    target = adjust_target(Target("hpc/site", "1" * 40, ref), [request_])
    assert (target.ref, target.pipeline) == expected


async def test_a_failure_is_told_with_its_reason_and_the_end_of_its_log(world: TriggerWorld) -> None:
    await begin(world)
    log = "\n".join(f"line {number}" for number in range(400)) + "\n/close\n@all ```"
    set_phase(world, name="Verify", state="Failed", reason="JobFailed", message=log[-2048:])
    world.end_build(ready=False)
    await world.settle()
    body = get_note(world).body
    assert "Verify: `JobFailed`" in body
    assert "| line 399\n| /close\n| @all ```\n```" in body
    assert "line 370" not in body


def set_phase(world: TriggerWorld, **phase: Any) -> None:
    """Set the only phase of the build."""
    world.work()
    world.kubernetes.edit("clusterbuilds", "lab", "oxygen", {"status": {"phases": [phase]}})


@pytest.mark.parametrize("ready", [True, False])
async def test_a_discussion_is_resolved_when_the_cluster_is_ready(world: TriggerWorld, *, ready: bool) -> None:
    await world.apply(report={"mergeRequests": "Discussion"})
    await begin(world)
    assert (get_note(world).discussion is not None, get_note(world).resolved) == (True, False)
    world.end_build(ready=ready)
    await world.settle()
    assert get_note(world).resolved is ready


async def test_a_build_is_a_deployment(world: TriggerWorld) -> None:
    await world.apply(report={"environment": "clusters/{cluster}"})
    commit = await begin(world)
    ((number, (deployment, state)),) = world.reports.deployments.items()
    assert (deployment.environment, deployment.commit, deployment.ref, state) == (
        "clusters/oxygen", commit, "main", "running",
    )  # fmt: skip
    world.work(Preflight="Running")
    await world.settle()
    assert world.reports.deployments[number][1] == "running"
    await world.restart_operator()
    world.end_build()
    await world.settle()
    assert {one: state for one, (_, state) in world.reports.deployments.items()} == {number: "success"}


@pytest.mark.parametrize(("how", "state"), [("fails", "failed"), ("is deleted", "canceled")])
async def test_a_deployment_ends_with_its_build(world: TriggerWorld, how: str, state: str) -> None:
    await world.apply(report={"environment": "{cluster}"})
    await begin(world)
    world.work(Preflight="Running")
    await world.settle()
    if how == "fails":
        world.end_build(ready=False)
    else:
        del world.kubernetes.objects["clusterbuilds", "lab", "oxygen"]
    await world.settle()
    assert [state for _, state in world.reports.deployments.values()] == [state]


async def test_an_environment_that_gitlab_refuses_costs_no_status(world: TriggerWorld) -> None:
    await world.apply(report={"environment": "{cluster}"})
    world.reports.errors["create_deployment"] = GitLabRejected("400 environment is not valid")
    commit = await begin(world)
    world.end_build()
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "success"}
    assert world.condition("Reporting") == ("False", "GitLabRejected")


@given(st.text())
def test_no_text_leaves_its_block(text: str) -> None:
    lines = "\n".join(render_block(text)).split("\n")
    assert lines[:2] == ["", "```text"]
    assert lines[-1] == "```"
    inside = lines[2:-1]
    assert 1 <= len(inside) <= BLOCK_LINES
    assert all(line.startswith("|") for line in inside)
    assert sum(map(len, inside)) <= BLOCK_CHARACTERS + 3 * BLOCK_LINES


@given(st.text())
def test_no_plan_leaves_its_block(text: str) -> None:
    lines = "\n".join(render_plan(text)).split("\n")
    assert (lines[:2], lines[-1]) == (["", "```text"], "```")
    assert all(line.startswith("|") for line in lines[2:-1])


def test_of_a_long_plan_the_beginning_is_shown() -> None:
    lines = render_plan("\n".join(f"oxygen{number}: added" for number in range(300)))
    assert (lines[2], lines[-2]) == ("| oxygen0: added", "| ... and 100 more lines")


@given(st.text())
def test_no_text_leaves_its_inline_code(text: str) -> None:
    shown = quote(text)
    assert shown == "" or re.fullmatch(r"`[^`|\\\n\r]{1,256}`", shown)


async def test_a_merge_request_that_is_opened_while_the_build_goes_on_hears_of_its_end(world: TriggerWorld) -> None:
    """jenkinsci/gitlab-plugin#1578: a branch is pushed first, and its merge request opened while the build goes on."""
    commit = world.push("one", oxygen=build_manifest())
    await world.take(push_body(commit))
    await world.settle()
    world.reports.merge_requests[3] = MergeRequest(3, commit, from_fork=False)
    assert world.reports.notes == {}
    world.end_build()
    await world.settle()
    assert "Succeeded" in get_note(world).body
    asked = world.reports.calls.count("list_merge_requests")
    await world.settle()
    assert world.reports.calls.count("list_merge_requests") == asked


async def test_a_merge_request_that_is_closed_while_the_build_goes_on_hears_of_its_end(world: TriggerWorld) -> None:
    await begin(world)
    request = world.reports.merge_requests[3]
    world.reports.merge_requests[3] = replace(request, commit="f" * 40)  # it is not listed for the commit any more
    world.end_build()
    await world.settle()
    assert "Succeeded" in get_note(world).body

"""Statuses of commits, from an event to its end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import (
    AccessTokenRefused,
    GitLabNotFound,
    GitLabRefused,
    GitLabRejected,
    GitLabUnavailable,
    RateLimited,
)
from bessemer.gitlab.reports import MergeRequest, NewStatus, Pipeline, State, Target
from bessemer.kinds.buildtrigger.report.decide import FIRST_SECONDS
from tests.support.trigger_world import KEY, MAIN, PROJECT, TriggerWorld, build_manifest, push_body

WHOLE = "bessemer/site"
PREFLIGHT, BOOT = "bessemer/oxygen/Preflight", "bessemer/oxygen/BootManagement"


async def begin(world: TriggerWorld, word: str = "one") -> str:
    """Push a manifest; return the commit."""
    commit = world.push(word, oxygen=build_manifest())
    await world.take(push_body(commit))
    await world.settle()
    return commit


async def test_a_build_is_told_phase_by_phase(world: TriggerWorld) -> None:
    commit = await begin(world)
    assert world.reports.states(commit) == {WHOLE: "running"}
    world.work(Preflight="Running", BootManagement="Pending")
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "running", PREFLIGHT: "running"}
    world.work(Preflight="Succeeded", BootManagement="Running")
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "running", PREFLIGHT: "success", BOOT: "running"}
    world.work(Preflight="Succeeded", BootManagement="Succeeded")
    world.end_build()
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "success", PREFLIGHT: "success", BOOT: "success"}
    assert {row.pipeline for row in world.reports.rows[commit]} == set(world.reports.pipelines)
    assert len(world.reports.pipelines) == 1
    assert world.condition("Reporting") == ("True", "Reported")


async def test_nothing_is_sent_again_while_nothing_changes(world: TriggerWorld) -> None:
    await begin(world)
    world.work(Preflight="Running")
    await world.settle()
    before = len(world.reports.calls)
    for _ in range(20):
        world.pass_time(30)
        await world.step()
    world.work(Preflight="Succeeded")
    world.end_build()
    await world.settle()
    told = len(world.reports.calls)
    assert told == before + 4, "two states, one look whether all are closed, and one for merge requests"
    await world.restart_operator()
    await world.settle()
    assert len(world.reports.calls) == told


async def test_a_failed_phase_that_is_tried_again_is_still_running(world: TriggerWorld) -> None:
    commit = await begin(world)
    world.work(Preflight="Failed")
    await world.settle()
    assert world.reports.states(commit)[PREFLIGHT] == "running"
    world.work(Preflight="Failed")
    world.end_build(ready=False)
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "failed", PREFLIGHT: "failed"}
    assert world.reports.rows[commit][0].description == "InstallFailed: oxygen: a node failed"


async def test_at_the_end_every_status_is_closed(world: TriggerWorld) -> None:
    commit = await begin(world)
    world.work(Preflight="Succeeded", BootManagement="Running")
    await world.settle()
    stray = await world.reports.set_status(
        Target(PROJECT, commit, "main", _add_pipeline(world, commit)), NewStatus(BOOT, State.RUNNING)
    )
    world.work(Preflight="Succeeded", BootManagement="Running")
    world.end_build(ready=False, reason="Aborted")
    await world.settle()
    states = {(row.name, row.pipeline == stray.pipeline): row.state for row in world.reports.rows[commit]}
    assert states == {
        (WHOLE, False): State.FAILED,
        (PREFLIGHT, False): State.SUCCESS,
        (BOOT, False): State.CANCELED,
        (BOOT, True): State.CANCELED,
    }


def _add_pipeline(world: TriggerWorld, commit: str) -> int:
    world.reports.pipelines[7] = Pipeline(7, commit, "main")
    return 7


async def test_all_statuses_go_to_the_pipeline_of_the_first_answer(world: TriggerWorld) -> None:
    commit = await begin(world)
    _add_pipeline(world, commit)  # a later pipeline of the same commit, as another tool makes it
    await world.restart_operator()
    world.work(Preflight="Succeeded")
    world.end_build()
    await world.settle()
    first = world.reports.rows[commit][0].pipeline
    assert first != 7
    assert {row.pipeline for row in world.reports.rows[commit]} == {first}


async def test_statuses_go_to_the_head_pipeline_of_the_merge_request(world: TriggerWorld) -> None:
    commit = world.push("one", oxygen=build_manifest())
    head = Pipeline(9, commit, "refs/merge-requests/3/head")
    world.reports.pipelines[9] = head
    world.reports.merge_requests[3] = MergeRequest(3, commit, from_fork=False, branch="main", pipeline=head)
    await world.take(push_body(commit))
    await world.settle()
    row = world.reports.rows[commit][0]
    assert (row.pipeline, row.ref) == (9, "refs/merge-requests/3/head")


async def test_an_event_in_the_queue_is_pending(world: TriggerWorld) -> None:
    await begin(world)
    second = world.push("two", ref="refs/tags/v1", oxygen=build_manifest(onDelete="PowerOff"))
    await world.apply(
        rules=[{"name": "main", "push": {"branches": ["main"]}}, {"name": "tags", "tag": {"tags": ["*"]}}]
    )
    await world.take(push_body(second, ref="refs/tags/v1"))
    await world.settle()
    assert world.reports.states(second) == {WHOLE: "pending"}
    world.end_build()
    await world.settle()
    assert world.reports.states(second) == {WHOLE: "running"}


async def test_the_same_commit_on_two_refs_has_statuses_on_both(world: TriggerWorld) -> None:
    await world.apply(rules=[{"name": "all", "push": {"branches": ["*"]}}])
    commit = await begin(world)
    world.end_build()
    await world.settle()
    world.push("one", ref="refs/heads/next", oxygen=build_manifest())
    await world.take(push_body(commit, ref="refs/heads/next"))
    await world.settle()
    world.end_build()
    await world.settle()
    found = {(row.ref, row.name, row.state.value) for row in world.reports.rows[commit]}
    assert found == {("main", WHOLE, "success"), ("next", WHOLE, "success")}


async def test_a_refused_manifest_is_a_failed_status_that_names_the_field(world: TriggerWorld) -> None:
    await world.apply(allow={"machines": []})
    commit = await begin(world)
    assert world.reports.states(commit) == {WHOLE: "failed"}
    assert "management.host" in world.reports.rows[commit][0].description


async def test_of_what_leads_to_nothing_nothing_is_told(world: TriggerWorld) -> None:
    commit = world.push("one", message="a change [skip ci]", oxygen=build_manifest())
    await world.take(push_body(commit))
    await world.settle()
    assert world.states() == [("Skipped", "SkipRequested")]
    assert world.reports.calls == []


async def test_a_superseded_build_has_its_statuses_cancelled(world: TriggerWorld) -> None:
    await world.apply(concurrency="Replace")
    one = await begin(world)
    world.work(Preflight="Running")
    await world.settle()
    two = await begin(world, "two")
    world.end_build(ready=False, reason="Aborted")
    await world.settle(8)
    assert world.commit_of() == two
    assert world.reports.states(one)[WHOLE] in ("canceled", "failed")
    assert "running" not in world.reports.states(one).values()
    assert world.reports.states(two) == {WHOLE: "running"}


async def test_a_deleted_trigger_closes_its_statuses(world: TriggerWorld) -> None:
    commit = await begin(world)
    world.work(Preflight="Running")
    await world.settle()
    world.kubernetes.edit("buildtriggers", *KEY, {"metadata": {"deletionTimestamp": world.now().isoformat()}})
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "canceled", PREFLIGHT: "canceled"}
    assert ("buildtriggers", *KEY) not in world.kubernetes.objects


async def test_a_trigger_is_deleted_while_gitlab_is_away(world: TriggerWorld) -> None:
    await begin(world)
    world.reports.error = GitLabUnavailable("no answer")
    world.kubernetes.edit("buildtriggers", *KEY, {"metadata": {"deletionTimestamp": world.now().isoformat()}})
    await world.settle()
    assert ("buildtriggers", *KEY) in world.kubernetes.objects
    world.pass_time(5)
    await world.step()
    world.pass_time(10)
    await world.step()
    world.pass_time(20)
    assert await world.step() == pytest.approx(25), "it is not waited longer than a minute, whatever the pause is"
    world.pass_time(25)
    await world.settle()
    assert ("buildtriggers", *KEY) not in world.kubernetes.objects


@pytest.mark.parametrize(
    "error", [GitLabUnavailable("503"), RateLimited("429", 20.0), AccessTokenRefused("the access token was revoked")]
)
async def test_gitlab_being_away_delays_no_build_and_is_made_good(world: TriggerWorld, error: BessemerError) -> None:
    world.reports.error = error
    commit = await begin(world)
    world.work(Preflight="Succeeded")
    world.end_build()
    await world.settle()
    assert world.states() == [("Succeeded", "Verified")]
    assert world.condition("Ready") == ("True", "Listening")
    assert world.condition("Reporting") == ("False", error.reason)
    assert world.reports.states(commit) == {}
    asked = len(world.reports.calls)
    await world.settle(20)
    assert len(world.reports.calls) == asked, "not before the pause is over"
    world.reports.error = None
    world.pass_time(300)
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "success", PREFLIGHT: "success"}
    assert world.condition("Reporting") == ("True", "Reported")


async def test_what_gitlab_says_of_the_next_request_is_obeyed(world: TriggerWorld) -> None:
    world.reports.error = RateLimited("429", 20.0)
    await begin(world)
    assert await world.step() == pytest.approx(20)


@pytest.mark.parametrize(
    "error", [GitLabRefused("403 Forbidden"), GitLabNotFound("404 Commit Not Found"), GitLabRejected("422 too many")]
)
async def test_what_gitlab_refuses_is_a_condition_and_no_loop(world: TriggerWorld, error: BessemerError) -> None:
    world.reports.errors["set_status"] = error
    await begin(world)
    world.work(Preflight="Succeeded")
    world.end_build()
    await world.settle()
    assert world.states() == [("Succeeded", "Verified")]
    assert world.condition("Reporting") == ("False", error.reason)
    asked = len(world.reports.calls)
    for _ in range(90):
        world.clock[0] += timedelta(days=1)
        await world.step()
    assert len(world.reports.calls) == asked


async def test_after_the_token_was_replaced_what_was_refused_is_sent(world: TriggerWorld) -> None:
    world.reports.errors["set_status"] = GitLabRefused("403 Forbidden")
    commit = await begin(world)
    world.reports.errors.clear()
    world.kubernetes.edit("secrets", KEY[0], "gitlab", {"data": {"token": "Z2xwYXQtbmV3"}})
    world.pass_time(700)
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "running"}
    assert world.condition("Reporting") == ("True", "Reported")


async def test_a_name_that_a_job_has_costs_only_that_status(world: TriggerWorld) -> None:
    commit = await begin(world)
    world.reports.errors["set_status"] = GitLabRejected("400 name: has already been taken")
    world.work(Preflight="Running")
    await world.settle()
    world.reports.errors.clear()
    world.work(Preflight="Succeeded", BootManagement="Running")
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "running", BOOT: "running"}
    assert world.condition("Reporting") == ("False", "GitLabRejected")


async def test_a_recorded_pipeline_that_is_gone_is_replaced_once(world: TriggerWorld) -> None:
    commit = await begin(world)
    world.reports.pipelines.clear()
    world.work(Preflight="Running")
    await world.settle()
    assert world.reports.states(commit)[PREFLIGHT] == "running"


async def test_an_event_that_is_handled_again_has_one_set_of_statuses(world: TriggerWorld) -> None:
    commit = await begin(world)
    world.end_build(ready=False)
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "failed"}
    world.pass_time(10)
    world.kubernetes.edit("buildtriggers", *KEY, {"metadata": {"annotations": {"bessemer.dev/again": "1"}}})
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "running"}
    world.end_build()
    await world.settle()
    assert world.reports.states(commit) == {WHOLE: "success"}
    assert len(world.reports.pipelines) == 1


async def test_a_status_links_to_the_address_of_the_trigger(world: TriggerWorld) -> None:
    url = "https://bessemer.example/{namespace}/{cluster}?phase={phase}&commit={commit}"
    await world.apply(report={"targetUrl": url})
    commit = await begin(world)
    world.work(Preflight="Running")
    await world.settle()
    rows = {row.name: row.url for row in world.reports.rows[commit]}
    assert rows[PREFLIGHT] == f"https://bessemer.example/lab/oxygen?phase=Preflight&commit={commit}"


async def test_statuses_can_be_switched_off(world: TriggerWorld) -> None:
    await world.apply(report={"statuses": "Off", "mergeRequests": "Off"})
    await begin(world)
    assert world.reports.calls == []
    assert world.condition("Reporting") == ("Unknown", "Off")


async def test_a_pass_waits_for_gitlab_once(world: TriggerWorld) -> None:
    world.reports.error = GitLabUnavailable("no whole answer within 20 s")
    await world.take(push_body(world.push("one", oxygen=build_manifest()), ref=MAIN))
    await world.settle()
    before = len(world.reports.calls)
    world.pass_time(400)
    await world.step()
    assert len(world.reports.calls) == before + 1


@pytest.mark.parametrize("requested", [False, True])
async def test_statuses_wait_for_the_pipeline_that_gitlab_creates_beside_the_webhook(
    world: TriggerWorld, requested: bool
) -> None:
    """runatlantis/atlantis#5944: the first status comes before the pipeline, and is in another one."""
    commit = world.push("one", oxygen=build_manifest())
    await world.take(push_body(commit), 2)
    await world.settle()
    assert (world.commit_of(), world.reports.calls) == (commit, []), "the build does not wait"
    assert await world.step() == pytest.approx(FIRST_SECONDS - 2)
    ref = "refs/merge-requests/3/head" if requested else "main"
    world.reports.pipelines[77] = Pipeline(77, commit, ref)
    if requested:
        request = MergeRequest(3, commit, from_fork=False, branch="main", pipeline=world.reports.pipelines[77])
        world.reports.merge_requests[3] = request
    world.pass_time(FIRST_SECONDS - 2)
    world.end_build()
    await world.settle()
    assert {row.pipeline for row in world.reports.rows[commit]} == {77}
    assert world.reports.states(commit)[WHOLE] == "success"

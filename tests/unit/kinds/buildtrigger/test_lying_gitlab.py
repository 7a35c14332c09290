"""A GitLab whose answers never become what they should, a clock that is set back, records that can't be written: a
trigger goes on, and asks no more than it may.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from bessemer.gitlab.hooklog import Delivery, Hook
from bessemer.gitlab.reports import CommitStatus, Deployment, NewStatus, State, Target
from bessemer.kinds.buildtrigger.calling import SPENT_SECONDS
from bessemer.kinds.buildtrigger.memory import HOOK_CALLS, REPORT_CALLS, REPORT_CALLS_PER_SECOND
from bessemer.kube.protocol import Refused
from tests.fakes.reports import FakeReports
from tests.support.trigger_world import KEY, TriggerWorld, build_manifest, push_body

MOST_PASSES = 200


class LyingReports(FakeReports):
    """Takes everything, and says that something else has become of it."""

    lies: random.Random

    async def list_statuses(self, target: Target, prefix: str) -> list[CommitStatus]:
        found = await super().list_statuses(target, prefix)
        return [replace(status, state=self.lies.choice(list(State))) for status in found]

    async def set_status(self, target: Target, status: NewStatus) -> CommitStatus:
        self.calls.append("set_status")
        return CommitStatus(status.name, self.lies.choice([status.state, State.RUNNING]), target.pipeline)

    async def create_deployment(self, *_: Any) -> Deployment:
        self.calls.append("create_deployment")
        return Deployment(1, self.lies.choice(["failed", "canceled", "success"]))


class LyingHookLog:
    """Has an event that it could not deliver, however often it is sent again."""

    def __init__(self, world: TriggerWorld) -> None:
        self.world, self.calls = world, 0

    async def list_hooks(self, *_: Any) -> list[Hook]:
        self.calls += 1
        return [Hook(4, "executable")]

    async def list_deliveries(self, *_: Any) -> list[Delivery]:
        self.calls += 1
        return [Delivery(1, "key", "push", "502", self.world.now())]

    async def resend(self, *_: Any) -> None:
        self.calls += 1

    async def close(self) -> None:
        """Do nothing."""


async def settle(world: TriggerWorld) -> float:
    """Run passes until none is due at once; return after how many seconds the next one is."""
    for _ in range(MOST_PASSES):
        wait = await world.step()
        if wait is None or wait > 0:
            return wait or 0.0
    raise AssertionError("a pass is due at once, again and again")


@pytest.mark.parametrize("seed", range(3))
async def test_a_gitlab_that_takes_no_report_for_good_is_told_at_a_bounded_rate(
    world: TriggerWorld, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.reports, "__class__", LyingReports)
    monkeypatch.setattr(world.reports, "lies", random.Random(seed), raising=False)  # noqa: S311
    await world.apply(report={"environment": "{cluster}"})
    await world.take(push_body(world.push("one", oxygen=build_manifest())))
    await settle(world)
    world.end_build()
    await settle(world)
    world.reports.calls.clear()
    for _ in range(20):
        world.pass_time(SPENT_SECONDS)
        await settle(world)
    assert len(world.reports.calls) <= REPORT_CALLS + 20 * SPENT_SECONDS * REPORT_CALLS_PER_SECOND
    await world.take(push_body(world.push("two", oxygen=build_manifest(onDelete="PowerOff"))))
    await settle(world)
    assert world.commit_of() == world.repository.heads["refs/heads/main"]


async def test_a_gitlab_that_never_delivers_an_event_is_not_asked_to_again_and_again(world: TriggerWorld) -> None:
    world.hooks = hooks = LyingHookLog(world)  # type: ignore[assignment]  # it has what is used of one
    await world.restart_operator()
    await settle(world)
    assert hooks.calls <= 3 * HOOK_CALLS
    assert world.condition("Ready") == ("True", "Listening")
    await world.take(push_body(world.push("one", oxygen=build_manifest())))
    await settle(world)
    assert world.build() is not None


@pytest.mark.parametrize("seconds", [1, 600, 86400])
async def test_an_event_from_before_the_clock_was_set_back_is_handled_at_once(
    world: TriggerWorld, seconds: float
) -> None:
    await world.take(push_body(world.push("one", oxygen=build_manifest())))
    world.pass_time(-seconds)
    await settle(world)
    assert world.build() is not None
    world.pass_time(0.1)
    await world.take(push_body(world.push("two", oxygen=build_manifest(onDelete="PowerOff"))))
    await settle(world)
    world.end_build()
    await settle(world)
    assert world.commit_of() == world.repository.heads["refs/heads/main"]


async def test_a_record_that_a_user_has_made_unwritable_holds_up_no_other_event(
    world: TriggerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with ``immutable: true``, or with so much in it that nothing more fits."""
    await world.take(push_body(world.push("one", oxygen=b"kind: Pod\n")))
    (name,), write = world.records(), world.kubernetes.patch_object

    async def refuse(kind: Any, namespace: str, written: str, patch: Any, **more: Any) -> Any:
        if written == name:
            raise Refused("Invalid", "data: Forbidden: field is immutable when `immutable` is set")
        return await write(kind, namespace, written, patch, **more)

    monkeypatch.setattr(world.kubernetes, "patch_object", refuse)
    await settle(world)
    assert world.condition("RecordsIntact") == ("False", "RecordForged")
    world.pass_time(1)
    await world.take(push_body(world.push("two", oxygen=build_manifest())))
    await settle(world)
    assert world.build() is not None
    assert world.condition("Ready") == ("True", "Listening")


async def test_a_status_that_says_too_much_does_not_cost_an_event_its_record(world: TriggerWorld) -> None:
    await world.take(push_body(world.push("one", oxygen=build_manifest())))
    await settle(world)
    world.end_build(ready=False, reason="R" * 1000)
    raw = world.kubernetes.objects["clusterbuilds", KEY[0], "oxygen"]
    raw["status"]["conditions"][0]["message"] = "m" * 32_000
    await settle(world)
    assert [state for state, _ in world.states()] == ["Failed"]
    assert world.condition("RecordsIntact") == ("True", "Intact")

"""Kubernetes' API fails in any order, before a call's effect or after it: of a pool's changes nothing is leaked, no job
runs twice, and all is well once the API is back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.support.examples import examples
from tests.support.pool_world import KEY
from tests.support.unsteady import FATES, Fate, make_unsteady
from tests.unit.kinds.runnerpool.pool_story import (
    Change,
    assert_nothing_leaked,
    create,
    delete,
    leave_out_pauses,
    open_story,
    run_job,
    update,
)

ROUNDS = 12
"""Of the story; by then every back-off is over."""


async def tell(change: Change, fates: list[Fate]) -> None:
    async with open_story(change) as story:
        world = story.world
        await change(world)  # type: ignore[misc]  # each is a coroutine function
        make_unsteady(world.kubernetes, fates)
        for _ in range(ROUNDS):
            source = world.deps.sources.get_source(KEY)
            if source is not None:
                source.nudge()  # the interval of polls goes by in real time
            await story.go_on()
            assert len(world.gitlab.runners) <= 1
            world.pass_time(60)
        assert_nothing_leaked(story, change)


@pytest.mark.parametrize("change", [create, update, run_job, delete])
@settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fates=FATES)
@example(fates=[(True, "away")] * 60)
@example(fates=[(False, "refused")] * 60)
@example(fates=[(True, "away"), (False, "conflict")])
def test_nothing_is_leaked_and_no_job_runs_twice(change: Change, fates: list[Fate]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pauses(patch)
        asyncio.run(tell(change, fates))

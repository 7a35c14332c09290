"""Kubernetes' API fails in any order, before a call's effect or after it: of a pool's changes nothing is leaked, no job
runs twice, and all is well once the API is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings

from bessemer.runnerpool import sources, statuspace
from tests.support.pool_world import KEY, open_pool_world
from tests.support.unsteady import FATES, Fate, make_unsteady
from tests.unit.runnerpool.test_deaths import (
    TOKEN_LIFE,
    Story,
    assert_nothing_leaked,
    create,
    delete,
    run_job,
    update,
)

ROUNDS = 12
"""Of the story; by then every back-off is over."""


async def tell(change: Callable[..., object], fates: list[Fate]) -> None:
    async with open_pool_world() as world:
        del world.gitlab.runners[1]
        world.gitlab.expires_at = world.clock[0] + TOKEN_LIFE
        story = Story(world)
        if change is not create:
            await create(world)
            await story.go_on()
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
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fates=FATES)
@example(fates=[(True, "away")] * 60)
@example(fates=[(False, "refused")] * 60)
@example(fates=[(True, "away"), (False, "conflict")])
def test_nothing_is_leaked_and_no_job_runs_twice(change: Callable[..., object], fates: list[Fate]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "SPACING_SECONDS", 0.0)
        patch.setattr(statuspace, "SETTLE_SECONDS", 0.0)
        patch.setattr(statuspace, "INTERVAL_SECONDS", 1e-9)
        asyncio.run(tell(change, fates))

"""An idle pool for ten minutes, in time that goes by at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from bessemer.engine.loop import WakeUps
from bessemer.errors import BessemerError
from bessemer.gitlab.jobs import RunnerTraits
from bessemer.gitlab.protocol import PendingJob, PendingJobs, ProjectRef, RateLimited, Scope, ScopeType
from bessemer.kinds.runnerpool.demand import sources
from bessemer.kinds.runnerpool.demand.interest import Interest
from bessemer.kinds.runnerpool.demand.sources import Source
from tests.fakes.gitlab import FakeGitLab
from tests.support.jumping_loop import JumpingLoop
from tests.support.pool_world import KEY, PROJECT, PoolWorld, open_pool_world

MINUTES = 10
SCOPE = Scope(ScopeType.PROJECT, PROJECT)


def run_idle_pool(
    then: Callable[[PoolWorld], Awaitable[None]], error: BessemerError | None = None, **spec: object
) -> tuple[Counter[str], Counter[str], PoolWorld]:
    """Let a pool be for ten minutes; return GitLab's requests and Kubernetes' in that time.

    ``error`` is what GitLab answers everything with from then on.
    """
    loop = JumpingLoop()

    async def run() -> tuple[Counter[str], Counter[str], PoolWorld]:
        async with open_pool_world() as world:
            start = world.clock[0]
            world.kubernetes.calls.clear()

            async def tell_time() -> None:
                while True:
                    world.clock[0] = start + timedelta(seconds=loop.time())
                    world.watch()
                    while world.woken:
                        pools.wake(world.woken.pop())
                    await asyncio.sleep(0.5)

            pools = WakeUps(
                world.controller.reconcile,
                300,
                lambda _: None,
                lambda _key, _fault: asyncio.sleep(0),
            )
            await world.apply(**spec)
            clock = asyncio.create_task(tell_time())
            await asyncio.sleep(1)
            pools.wake(KEY)
            await asyncio.sleep(5)
            world.gitlab.error = error
            world.gitlab.calls.clear()
            world.kubernetes.calls.clear()
            await asyncio.sleep(60 * MINUTES)
            asked = Counter(world.gitlab.calls), Counter(call[0] for call in world.kubernetes.calls)
            await then(world)
            clock.cancel()
            await pools.close()
            return *asked, world

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


async def do_nothing(_: PoolWorld) -> None:
    """End there."""


def test_an_idle_pool_has_no_pod_and_asks_gitlab_at_most_once_a_minute() -> None:
    gitlab, kubernetes, world = run_idle_pool(do_nothing)
    assert world.pods() == {}
    assert 5 <= gitlab["list_pending_jobs"] <= MINUTES
    assert gitlab["verify_runner"] == 0  # that is asked once an hour
    assert gitlab.total() <= MINUTES
    assert set(kubernetes) == {"get"}  # the Secrets that the pool names, every half minute


def test_after_ten_idle_minutes_a_job_is_served_at_once() -> None:
    async def run_job(world: PoolWorld) -> None:
        world.gitlab.jobs.append(PendingJob(7, PROJECT, frozenset({"hpc"})))
        source = world.deps.sources.get_source(KEY)
        assert source is not None
        source.nudge()  # the webhook
        await asyncio.sleep(2)

    _, _, world = run_idle_pool(run_job)
    assert len(world.pods()) == 1


@pytest.mark.parametrize("seconds", [30, 300])
def test_polls_are_as_far_apart_as_the_pool_says(seconds: int) -> None:
    gitlab = {
        "url": "http://gitlab.example",
        "scope": {"type": "Project", "path": PROJECT},
        "apiTokenSecret": {"name": "gitlab"},
        "pollSeconds": seconds,
    }
    asked, _, _ = run_idle_pool(do_nothing, gitlab=gitlab)
    assert asked["list_pending_jobs"] <= 60 * MINUTES / seconds


@pytest.mark.parametrize(("asked", "polls"), [(200, 3), (3600, 1), (10**9, 1), (None, 15)])
def test_a_gitlab_that_asks_for_a_pause_is_left_alone_for_it(asked: float | None, polls: int) -> None:
    gitlab, _, _ = run_idle_pool(do_nothing, error=RateLimited("too many requests", asked))
    assert 1 <= gitlab["list_pending_jobs"] <= polls


def test_jobs_are_seen_again_however_long_a_pause_gitlab_asks_for() -> None:
    async def wait_for_an_hour(world: PoolWorld) -> None:
        world.gitlab.error = None
        world.gitlab.jobs.append(PendingJob(7, PROJECT, frozenset({"hpc"})))
        await asyncio.sleep(3600)

    _, _, world = run_idle_pool(wait_for_an_hour, error=RateLimited("too many requests", 10**9))
    assert len(world.pods()) == 1


@dataclass
class TimedGitLab(FakeGitLab):
    """One that takes down when it was polled, by the loop's clock."""

    times: list[float] = field(default_factory=list)

    async def list_pending_jobs(
        self, scope: Scope, *, with_protected: bool = False, hints: Collection[ProjectRef] = ()
    ) -> PendingJobs:
        self.times.append(asyncio.get_running_loop().time())
        return await super().list_pending_jobs(scope, with_protected=with_protected, hints=hints)


def test_polls_of_sources_that_began_together_are_spread_and_none_is_late() -> None:
    loop, times = JumpingLoop(), [list[float]() for _ in range(20)]

    async def run() -> None:
        made = [Source(TimedGitLab(times=own), SCOPE, lambda: datetime.now(UTC), lambda _: None) for own in times]
        for source in made:
            source.pools[KEY] = Interest(RunnerTraits(SCOPE, frozenset({"hpc"}), False, False), 60)
        await asyncio.sleep(1200)
        for source in made:
            await source.close()

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
    gaps = [later - earlier for own in times for earlier, later in pairwise(own)]
    assert min(gaps) >= 60
    assert max(gaps) <= 60 * (1 + sources.JITTER) + 1
    assert max(gaps) - min(gaps) > 60 * sources.JITTER * 0.8
    for poll, spread in ((0, 0.0), (1, 3.0), (9, 10.0)):
        seconds = [own[poll] for own in times]
        assert spread <= max(seconds) - min(seconds) <= 12 * poll

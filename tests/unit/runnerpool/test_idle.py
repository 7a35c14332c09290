"""An idle pool for ten minutes, in time that goes by at once: the loop's clock jumps to the next thing that is due."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import PendingJob, RateLimited
from bessemer.runnerpool.reconcile import reconcile
from bessemer.wakeups import WakeUps
from tests.support.pool_world import KEY, PROJECT, PoolWorld, open_pool_world

MINUTES = 10


class JumpingLoop(asyncio.SelectorEventLoop):
    """Never waits: where nothing is to be done yet, it is later at once."""

    def __init__(self) -> None:
        super().__init__()
        self._later = 0.0
        select = self._selector.select  # type: ignore[attr-defined]  # asyncio's own

        def jump(timeout: float | None = None) -> list[object]:
            self._later += timeout or 0.0
            found: list[object] = select(0)
            return found

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._later


def run_idle_pool(
    then: Callable[[PoolWorld], Awaitable[None]], error: BessemerError | None = None, **spec: object
) -> tuple[Counter[str], Counter[str], PoolWorld]:
    """Let a pool be for ten minutes; give GitLab's requests and Kubernetes' in that time.

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

            pools = WakeUps(lambda key, woken: reconcile(world.deps, key, woken), 300, lambda _: None)
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

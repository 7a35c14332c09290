"""A GitLab that asks for a pause gets it, whatever step a pool's runner needs, and is asked again in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from bessemer.errors import Retry
from bessemer.gitlab.protocol import GitLabUnavailable, RateLimited
from bessemer.kinds.runnerpool.demand import sources
from tests.support.pool_world import KEY, PoolWorld, open_pool_world

MANAGED = {"managed": {}, "tags": ["hpc"]}
Act = Callable[[PoolWorld], Awaitable[None]]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PoolWorld]:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    async with open_pool_world() as world:
        yield world


async def pass_seconds(world: PoolWorld, seconds: int) -> None:
    """Let time go by, with a pass every five seconds."""
    for _ in range(seconds // 5):
        with suppress(Retry):
            await world.step()
        world.pass_time(5)


def take_calls(world: PoolWorld) -> list[str]:
    """Return what GitLab was asked about runners since the last time."""
    calls = [call for call in world.gitlab.calls if call != "list_pending_jobs"]
    world.gitlab.calls.clear()
    return calls


async def create(world: PoolWorld) -> None:
    world.gitlab.runners.clear()
    await world.apply(runner=MANAGED)


async def verify(world: PoolWorld) -> None:
    await world.apply()


async def verify_again(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.pass_time(4000)


async def update(world: PoolWorld) -> None:
    await create(world)
    await world.settle()
    await world.apply(runner=MANAGED | {"tags": ["hpc", "gpu"]})


async def rotate(world: PoolWorld) -> None:
    world.gitlab.expires_at = world.clock[0] + timedelta(hours=2)
    await create(world)
    await world.settle()
    world.gitlab.expires_at = None
    world.pass_time(3660)


async def delete(world: PoolWorld) -> None:
    await create(world)
    await world.settle()
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])


@pytest.mark.parametrize("error", [RateLimited("too many requests", 600), GitLabUnavailable("503", 600)])
@pytest.mark.parametrize(
    ("act", "asked", "then"),
    [
        (create, "list_runners", "create_runner"),
        (verify, "verify_runner", "verify_runner"),
        (verify_again, "verify_runner", "verify_runner"),
        (update, "update_runner", "update_runner"),
        (rotate, "list_runners", "rotate_runner"),
        (delete, "delete_runner", "delete_runner"),
    ],
)
async def test_gitlab_is_left_alone_for_as_long_as_it_asks(
    world: PoolWorld, act: Act, asked: str, then: str, error: Retry
) -> None:
    await act(world)
    take_calls(world)
    world.gitlab.error = error
    await pass_seconds(world, 595)
    assert take_calls(world) == [asked]
    world.gitlab.error = None
    await pass_seconds(world, 15)
    assert then in take_calls(world)
    if act is not delete:
        assert world.condition("RunnerRegistered") == ("True", "Registered")


async def change_secret(world: PoolWorld) -> None:
    await world.put_secret("gitlab", "glpat-another")


async def change_spec(world: PoolWorld) -> None:
    await world.apply(runner=MANAGED | {"tags": ["gpu"]})


@pytest.mark.parametrize("change", [change_secret, change_spec])
async def test_a_changed_secret_or_spec_is_a_reason_to_try_at_once(world: PoolWorld, change: Act) -> None:
    await create(world)
    world.gitlab.error = RateLimited("too many requests", 600)
    await pass_seconds(world, 60)
    take_calls(world)
    await change(world)
    await pass_seconds(world, 60)
    assert take_calls(world) == ["list_runners"]
    world.gitlab.error = None
    await world.put_secret("gitlab", "glpat-third")
    await pass_seconds(world, 10)
    assert "create_runner" in take_calls(world)


@pytest.mark.parametrize(("asked", "tries"), [(None, 60), (1.0, 60), (10**9, 1)])
async def test_a_pause_is_no_shorter_than_our_own_and_an_hour_at_most(
    world: PoolWorld, asked: float | None, tries: int
) -> None:
    await create(world)
    world.gitlab.error = RateLimited("too many requests", asked)
    await pass_seconds(world, 300)
    assert take_calls(world).count("list_runners") == tries
    world.gitlab.error = None
    await pass_seconds(world, 3315)
    assert "create_runner" in take_calls(world)


async def test_the_next_pass_is_due_when_the_pause_is_over(world: PoolWorld) -> None:
    await create(world)
    world.gitlab.error = RateLimited("too many requests", 600)
    await world.settle()
    world.pass_time(100)
    assert await world.step() == 500
    assert world.condition("RunnerRegistered") == ("False", "RateLimited")


async def test_a_pool_that_is_deleted_waits_no_longer_for_gitlab_than_it_would_anyway(world: PoolWorld) -> None:
    await delete(world)
    world.gitlab.error = RateLimited("too many requests", 10**6)
    assert await world.step() == world.deps.settings.deletion_seconds
    await pass_seconds(world, world.deps.settings.deletion_seconds + 10)
    assert ("runnerpools", *KEY) not in world.kubernetes.objects
    assert take_calls(world).count("delete_runner") == 2  # the first time, and the last
    (message,) = world.events("RunnerLeft")
    assert "too many requests" in message


async def test_managers_of_pods_that_end_meanwhile_are_deleted_after_the_pause(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.queue(1, 2)
    await world.settle()
    world.start_pods()
    take_calls(world)
    world.gitlab.error = RateLimited("too many requests", 600)
    for number, name in ((1, "lab-runner-0"), (2, "lab-runner-1")):
        world.end_pod(name, number)
        await pass_seconds(world, 60)
    assert take_calls(world) == ["delete_manager"]
    world.pass_time(4000)  # the token must be verified, too
    await pass_seconds(world, 60)
    assert take_calls(world) == ["verify_runner"]
    world.gitlab.error = None
    await pass_seconds(world, 560)
    assert take_calls(world) == ["verify_runner", "delete_manager", "delete_manager"]

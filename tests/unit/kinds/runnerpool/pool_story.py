"""A pool with a managed runner, whose jobs run in its pods, and one change to it: told whatever fails meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from bessemer.api.names import runner_system_id
from bessemer.api.wellknown import JOB_ANNOTATION
from bessemer.engine import status
from bessemer.errors import BessemerError
from bessemer.kinds.runnerpool.demand import sources
from tests.support.pool_world import KEY, PoolWorld, manifest, open_pool_world

Change = Callable[..., object]
"""What a user, GitLab or time does to a pool: a coroutine function of its world."""
MANAGED = {"managed": {}, "tags": ["hpc"]}
TOKEN_LIFE = timedelta(days=3)
GROUP = manifest()["spec"]["gitlab"] | {"scope": {"type": "Group", "path": "hpc"}}
PASSES = 12
"""More than any of the stories needs."""
USERS_SECRETS = {"gitlab", "hook", "runner"}


@dataclass
class Story:
    """A pool, and the jobs that have run in its pods."""

    world: PoolWorld
    ran: list[int] = field(default_factory=list)

    async def go_on(self) -> None:
        """Make passes, as the pool's loop does, with a kubelet that runs pods and runners that take jobs."""
        for _ in range(PASSES):
            with suppress(BessemerError):
                await self.world.step()
            self._run_pods()
            self.world.pass_time(10)

    def _run_pods(self) -> None:
        for name, raw in self.world.pods().items():
            if "deletionTimestamp" in raw["metadata"]:
                del self.world.kubernetes.objects["pods", KEY[0], name]
            elif JOB_ANNOTATION in raw["metadata"]["annotations"] and raw.get("status", {}).get("phase") == "Running":
                self._run_job(name, int(raw["metadata"]["annotations"][JOB_ANNOTATION]))
        self.world.start_pods()

    def _run_job(self, pod: str, number: int) -> None:
        uid = self.world.kubernetes.objects["runnerpools", *KEY]["metadata"]["uid"]
        (runner,) = self.world.gitlab.runners.values()
        runner.managers.add(runner_system_id(uid, int(pod.rpartition("-")[2])))
        taken = [number] if number in {job.id for job in self.world.gitlab.jobs} else []
        self.ran += taken
        self.world.end_pod(pod, *taken)


async def create(world: PoolWorld) -> None:
    await world.apply(runner=MANAGED, min=1)


async def rotate(world: PoolWorld) -> None:
    world.pass_time(TOKEN_LIFE.total_seconds() - 86400 + 60)
    world.gitlab.expires_at = world.clock[0] + TOKEN_LIFE


async def update(world: PoolWorld) -> None:
    await world.apply(runner=MANAGED | {"tags": ["hpc", "gpu"]}, min=1)


async def move(world: PoolWorld) -> None:
    await world.apply(runner=MANAGED, min=1, gitlab=GROUP)


async def run_job(world: PoolWorld) -> None:
    world.queue(7)


async def delete(world: PoolWorld) -> None:
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])


@asynccontextmanager
async def open_story(change: Change) -> AsyncIterator[Story]:
    """Open a world at the moment before the change: with a settled pool, but for the change that creates it."""
    async with open_pool_world() as world:
        del world.gitlab.runners[1]
        world.gitlab.expires_at = world.clock[0] + TOKEN_LIFE
        story = Story(world)
        if change is not create:
            await create(world)
            await story.go_on()
        yield story


def leave_out_pauses(patch: pytest.MonkeyPatch) -> None:
    """Leave out the pauses that go by in real time: between polls, and between writes of a status."""
    patch.setattr(sources, "SPACING_SECONDS", 0.0)
    patch.setattr(status, "SETTLE_SECONDS", 0.0)
    patch.setattr(status, "INTERVAL_SECONDS", 1e-9)


def assert_nothing_leaked(story: Story, change: Change) -> None:
    world = story.world
    secrets = {name for plural, _, name in world.kubernetes.objects if plural == "secrets"}
    assert story.ran == ([7] if change is run_job else [])
    if change is delete:
        assert (world.gitlab.runners, world.pods(), secrets) == ({}, {}, USERS_SECRETS)
        assert ("runnerpools", *KEY) not in world.kubernetes.objects
        return
    (runner,) = world.gitlab.runners.values()
    assert runner.managers == set()
    assert secrets == USERS_SECRETS | {"lab-runner"}
    assert len(world.pods()) == 1
    assert (world.condition("Ready"), world.status()["idle"]) == (("True", "Serving"), 1)

"""An operator that dies before and after each of its calls to Kubernetes and GitLab: whatever it was at, nothing leaks.

Each story is told once without a death, to know its moments, then once for each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from bessemer.errors import BessemerError
from bessemer.names import runner_system_id
from bessemer.runnerpool import sources, statuspace
from bessemer.wellknown import JOB_ANNOTATION
from tests.support.fake_kubernetes import Crash
from tests.support.pool_world import KEY, PoolWorld, manifest, open_pool_world

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


async def tell(change: Callable[..., object], death: int | None) -> list[str]:
    """Tell a story with a death at one of the moments of its change; give these moments."""
    async with open_pool_world() as world:
        del world.gitlab.runners[1]
        world.gitlab.expires_at = world.clock[0] + TOKEN_LIFE
        story = Story(world)
        if change is not create:
            await create(world)
            await story.go_on()
        world.mortality.arm(death)
        mortality = world.mortality
        await change(world)  # type: ignore[misc]  # each is a coroutine function
        try:
            await story.go_on()
        except Crash:
            await world.restart_operator()
            await story.go_on()
        assert mortality.dead == (death is not None)
        assert_nothing_leaked(story, change)
        return mortality.moments


def assert_nothing_leaked(story: Story, change: Callable[..., object]) -> None:
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


@pytest.mark.parametrize(
    ("change", "calls"),
    [
        (create, ("list_runners", "create_runner")),
        (rotate, ("rotate_runner",)),
        (update, ("update_runner",)),
        (move, ("delete_runner", "create_runner")),
        (run_job, ("delete_manager",)),
        (delete, ("delete_runner",)),
    ],
)
async def test_an_operator_that_dies_between_any_two_calls_leaks_no_runner(
    change: Callable[..., object], calls: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    monkeypatch.setattr(statuspace, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(statuspace, "INTERVAL_SECONDS", 1e-9)
    moments = await tell(change, None)
    assert {f"{side} {call}" for side in ("before", "after") for call in (*calls, "patch_object")} <= set(moments)
    for death in range(len(moments)):
        assert (await tell(change, death)) == moments[: death + 1]

"""Golden stories of a ClusterBuild: what happens, and each plan that it leads to, with its reason."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Literal

import pytest

from bessemer.kinds.clusterbuild.decide import decide
from bessemer.kinds.clusterbuild.observe import get_reading
from bessemer.kinds.clusterbuild.plan import Plan
from tests.support.world import NAMESPACE, World, manifest
from tests.unit.stories.book import list_stories
from tests.unit.stories.teller import event, tell_story

MAX_PLANS = 8


class BuildStage:
    """A build in a world in memory, which runs separate event loops: in a thread, therefore."""

    def __init__(self) -> None:
        self.world = World()

    @event("apply")
    async def apply(self, spec: dict[str, Any]) -> None:
        await asyncio.to_thread(self.world.apply, manifest(**spec))

    @event("pod")
    def set_pod(
        self, pod: str, *, phase: str, result: dict[str, Any] | None = None, status: dict[str, Any] | None = None
    ) -> None:
        self.world.set_pod(pod, phase, result, **(status or {}))

    @event("delete pod")
    def delete_pod(self, name: str) -> None:
        self.world.kubernetes.mark_deleted(self.world.pods()[name])

    @event("annotate")
    def annotate(self, annotation: str, *, value: str | None) -> None:
        self.world.annotate(f"bessemer.dev/{annotation}", value)

    @event("seconds")
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @event("login key")
    async def move_login_key(self, what: Literal["comes", "goes"]) -> None:
        if what == "comes":
            await self.world.add_login_key()
        else:
            del self.world.kubernetes.objects["secrets", NAMESPACE, "oxygen-ssh"]

    @event("delete")
    def delete(self, _what: Literal["build"]) -> None:
        self.world.delete()

    async def tell(self) -> list[str]:
        return await asyncio.to_thread(self.decide)

    def decide(self) -> list[str]:
        """Decide and act until the same is decided twice or nothing is left to do at once."""
        world, told = self.world, list[str]()
        for _ in range(MAX_PLANS):
            if not world.exists():
                return [*told, "gone"]
            reading = asyncio.run(get_reading(world.kind.deps, world.build(), 0.0))
            line = describe(decide(reading.facts, world.time))
            if told and told[-1] == line:
                return told
            told.append(line)
            world.step()
        return told


def describe(plan: Plan) -> str:
    """Describe a plan in one line."""
    move = plan.move
    step = type(plan.step).__name__ if plan.step else "wait" if move.outlook in ("Working", "Waiting") else "rest"
    wake = "" if plan.wake_after is None else f" [{plan.wake_after:g} s]"
    after = "".join(f" +{name}" for name in dict.fromkeys(type(work).__name__ for work in plan.afterwork))
    after += " +RemoveFinalizer" if plan.finalize else ""
    return f"{step}, {move.outlook}, {move.reason}: {move.message}{wake}{after}"


@pytest.mark.parametrize("path", list_stories(__file__), ids=lambda path: path.stem)
async def test_story(path: Path) -> None:
    stage = await asyncio.to_thread(BuildStage)
    await tell_story(path, stage, os.environ)

"""Golden stories of a pool's pods: what happens, what is decided with its reason, and what the status says then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.pool_world import PoolWorld
from tests.unit.kinds.runnerpool.pool_stage import PoolStage, listen
from tests.unit.stories.book import list_stories
from tests.unit.stories.teller import tell_story

COUNTS = ("min", "pending", "starting", "idle", "running", "draining")
CONDITIONS = ("Ready", "ScalingLimited")


class PodsStage(PoolStage):
    def describe(self) -> list[str]:
        status = self.world.status()
        pods = f"pods: {' '.join(sorted(self.world.pods())) or 'none'}"
        counts = ", ".join(f"{name} {status[name]}" for name in COUNTS if status.get(name)) or "nothing"
        back_off = status.get("backOff")
        failures = f"{back_off['failures']} of {back_off['cause']}" if back_off else "none"
        return [pods, f"status: {counts}", f"failures: {failures}", *map(self.describe_condition, CONDITIONS)]


@pytest.mark.parametrize("path", list_stories(__file__), ids=lambda path: path.stem)
async def test_story(path: Path, world: PoolWorld) -> None:
    with listen("bessemer.engine.controller", "RunnerPool ") as narrator:
        await tell_story(path, PodsStage(world, narrator), os.environ)

"""Golden stories of the GitLab runner of a pool: what happens, and each step that it leads to, with its reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.pool_world import PoolWorld
from tests.unit.kinds.runnerpool.pool_stage import PoolStage, listen
from tests.unit.stories.book import list_stories
from tests.unit.stories.teller import tell_story


class RunnerStage(PoolStage):
    def describe(self) -> list[str]:
        return [self.describe_condition("RunnerRegistered")]


@pytest.mark.parametrize("path", list_stories(__file__), ids=lambda path: path.stem)
async def test_story(path: Path, world: PoolWorld) -> None:
    with listen("bessemer.kinds.runnerpool.runner") as narrator:
        await tell_story(path, RunnerStage(world, narrator), os.environ)

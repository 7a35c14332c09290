"""Golden stories of a trigger: steps with their reasons, events and builds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.trigger_world import TriggerWorld
from tests.unit.kinds.buildtrigger.trigger_stage import TriggerStage
from tests.unit.stories.book import list_stories
from tests.unit.stories.teller import tell_story


@pytest.mark.parametrize("path", list_stories(__file__), ids=lambda path: path.stem)
async def test_a_story_of_a_trigger_comes_out_as_written(path: Path, world: TriggerWorld) -> None:
    stage = TriggerStage(world)
    await stage.change_spec({})
    await world.settle()
    await tell_story(path, stage, os.environ)

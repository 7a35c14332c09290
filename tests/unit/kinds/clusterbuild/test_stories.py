"""Golden stories: facts written out in YAML, and the plan that each of them leads to, with its reasons.

Each file in stories/ is one story: what happens, in order, and what is decided then. ``then`` is compared word by word.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.kinds.clusterbuild.decide import decide
from bessemer.kinds.clusterbuild.observe import get_reading
from bessemer.kinds.clusterbuild.plan import Plan
from tests.support.world import NAMESPACE, World, manifest

STORIES = sorted((Path(__file__).parent / "stories").glob("*.yaml"))
MAX_PLANS = 8


def tell(plan: Plan) -> str:
    """Tell a plan in one line."""
    move = plan.move
    step = type(plan.step).__name__ if plan.step else "wait" if move.outlook in ("Working", "Waiting") else "rest"
    wake = "" if plan.wake_after is None else f" [{plan.wake_after:g} s]"
    after = "".join(f" +{name}" for name in dict.fromkeys(type(work).__name__ for work in plan.afterwork))
    after += " +RemoveFinalizer" if plan.finalize else ""
    return f"{step}, {move.outlook}, {move.reason}: {move.message}{wake}{after}"


def happen(world: World, event: dict[str, Any]) -> None:
    """Let one thing happen in the world."""
    match event:
        case {"apply": spec}:
            world.apply(manifest(**(spec or {})))
        case {"pod": name, "phase": phase, **rest}:
            world.set_pod(name, phase, rest.get("result"), **rest.get("status", {}))
        case {"delete pod": name}:
            world.kubernetes.mark_deleted(world.pods()[name])
        case {"annotate": annotation, "value": value}:
            world.annotate(f"bessemer.dev/{annotation}", value)
        case {"seconds": seconds}:
            world.pass_time(seconds)
        case {"login key": "goes"}:
            del world.kubernetes.objects["secrets", NAMESPACE, "oxygen-ssh"]
        case {"login key": "comes"}:
            asyncio.run(world.add_login_key())
        case {"delete": "build"}:
            world.delete()
        case _:
            raise AssertionError(f"unknown event {event}")


def plans(world: World) -> list[str]:
    """Decide and act until the same is decided twice or nothing is left to do at once."""
    told: list[str] = []
    for _ in range(MAX_PLANS):
        if not world.exists():
            return [*told, "gone"]
        reading = asyncio.run(get_reading(world.kind.deps, world.build(), 0.0))
        line = tell(decide(reading.facts, world.time))
        if told and told[-1] == line:
            return told
        told.append(line)
        world.step()
    return told


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    world = World()
    for number, chapter in enumerate(yaml.safe_load(path.read_text())["story"]):
        for event in chapter["when"]:
            happen(world, event)
        assert plans(world) == chapter["then"], f"{path.name}, chapter {number}: {chapter['when']}"


def test_there_are_stories() -> None:
    assert len(STORIES) >= 6

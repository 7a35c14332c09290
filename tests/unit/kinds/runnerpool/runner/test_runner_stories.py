"""Golden stories of the GitLab runner of a pool: what happens, and each question and step that comes of it, with why.

Each file in stories/ is one story: ``when`` things happen, passes are made, and ``then`` is compared word by
word: what was decided, as the operator logs it, and the condition RunnerRegistered where it changed.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import GitLabUnavailable, Identity, RateLimited
from tests.fakes.gitlab import FakeGitLab
from tests.support.pool_world import KEY, PoolWorld, manifest

STORIES = {
    path.stem: yaml.safe_load(path.read_text())["story"]
    for path in sorted((Path(__file__).parent / "stories").glob("*.yaml"))
}
ROOM = "bessemer.kinds.runnerpool.runner"
PASSES = 6


@dataclass
class Narrator(logging.Handler):
    """Hears what the operator logs, and tells it."""

    world: PoolWorld
    told: list[str] = field(default_factory=list)
    condition: str = ""

    def __post_init__(self) -> None:
        super().__init__(logging.DEBUG)

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage().removeprefix(f"{'/'.join(KEY)}: ")
        if not line.startswith("rest, "):
            self.told.append(line)

    async def tell(self) -> list[str]:
        """Make passes, more than any story needs; return what was told, and what was told again once."""
        self.told = []
        for _ in range(PASSES):
            with suppress(BessemerError):
                await self.world.step()
        lines = list(dict.fromkeys(self.told))
        if ("runnerpools", *KEY) not in self.world.kubernetes.objects:
            return [*lines, "gone"]
        condition = self._describe_condition()
        if condition != self.condition:
            lines.append(condition)
        self.condition = condition
        return lines

    def _describe_condition(self) -> str:
        found = next(one for one in self.world.status()["conditions"] if one["type"] == "RunnerRegistered")
        return f"RunnerRegistered {found['status']}, {found['reason']}: {found.get('message', '')}".removesuffix(": ")


async def happen(world: PoolWorld, event: dict[str, Any]) -> None:
    """Let one thing happen."""
    match event:
        case {"apply": spec}:
            await world.apply(**_complete(spec or {}))
        case {"seconds": seconds}:
            world.pass_time(seconds)
        case {"gitlab": what}:
            set_gitlab(world, what)
        case {"tokens live": seconds}:
            world.gitlab.expires_at = None if seconds is None else world.clock[0] + timedelta(seconds=seconds)
        case {"runner": "deleted in GitLab"}:
            world.gitlab.runners.clear()
        case {"edit secret": name, **keys}:
            data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
            world.kubernetes.edit("secrets", KEY[0], name, {"data": data})
            await _announce(world, name)
        case {"delete secret": name}:
            await world.delete_secret(name)
        case {"delete": "pool"}:
            world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
        case {"job": what}:
            await run_job(world, what)
        case {"operator": "dies"}:
            await world.restart_operator()
        case _:
            raise AssertionError(f"unknown event {event}")


async def run_job(world: PoolWorld, what: str) -> None:
    """Have a job run in the pool's first pod, end there, or another one wait."""
    if what == "runs":
        world.queue(7)
        await world.settle(3)
        world.start_pods()
    elif what == "ends":
        world.end_pod("lab-runner-0", 7)
    else:
        assert what == "waits"
        world.queue(8)


def _complete(spec: dict[str, Any]) -> dict[str, Any]:
    """Lay what a story has of spec.gitlab over the rest of it."""
    gitlab = manifest()["spec"]["gitlab"] | spec.get("gitlab", {})
    return {**spec, "gitlab": gitlab}


async def _announce(world: PoolWorld, name: str) -> None:
    version = world.kubernetes.objects["secrets", KEY[0], name]["metadata"]["resourceVersion"]
    world.watcher.tell(KEY[0], name, version)
    await asyncio.sleep(0)


def set_gitlab(world: PoolWorld, what: str) -> None:
    """Have GitLab fail, or work again."""
    errors = {"away": GitLabUnavailable("no answer: Connection refused"), "busy": RateLimited("too many requests", 600)}
    world.gitlab.error = errors.get(what)
    if what == "refuses tokens":

        async def verify_runner(runner_token: str) -> Identity | None:
            return None

        world.gitlab.verify_runner = verify_runner  # type: ignore[method-assign]
    elif what == "takes tokens":
        world.gitlab.verify_runner = FakeGitLab.verify_runner.__get__(world.gitlab)  # type: ignore[method-assign]
    else:
        assert what == "back" or what in errors


@pytest.mark.parametrize("name", STORIES)
async def test_story(name: str, world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    narrator, room = Narrator(world), logging.getLogger(ROOM)
    room.addHandler(narrator)
    try:
        with caplog.at_level(logging.DEBUG, ROOM):
            for number, chapter in enumerate(STORIES[name]):
                for event in chapter["when"]:
                    await happen(world, event)
                assert await narrator.tell() == chapter["then"], f"{name}, chapter {number}: {chapter['when']}"
    finally:
        room.removeHandler(narrator)


def test_there_are_stories() -> None:
    assert len(STORIES) >= 9

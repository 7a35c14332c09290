"""Tells a story on a stage, and compares what comes of it with what the file says.

After a wanted change, ``BESSEMER_UPDATE_GOLDEN=1`` has the files rewritten, and each test whose file has changed
fail: read the difference. It is refused where ``CI`` is set.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from pydantic import ConfigDict, validate_call

from tests.unit.stories.book import Chapter, Event, Story, read_story, update_story

UPDATE = "BESSEMER_UPDATE_GOLDEN"
P = ParamSpec("P")
T = TypeVar("T")


class Stage(Protocol):
    """The world of some stories: it has a method for each event that can happen there."""

    def tell(self) -> list[str] | Awaitable[list[str]]:
        """Have the code decide, and return what came of it as lines."""


def event(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a method of a stage as what happens at an event: given the value of its name, and its arguments by name."""

    def mark(method: Callable[P, T]) -> Callable[P, T]:
        method.event = name  # type: ignore[attr-defined]  # a function takes any attribute
        return method

    return mark


async def happen(stage: Stage, what: Event) -> None:
    """Have one event happen; an event or argument that the stage does not know, or of another type, fails."""
    name, value = next(iter(what.items()))
    events = {getattr(method, "event", None): method for _, method in inspect.getmembers(stage, inspect.ismethod)}
    assert name in events, f"unknown event {what}"
    rest = {key: argument for key, argument in what.items() if key != name}
    check = validate_call(config=ConfigDict(strict=True))(events[name])
    await _call(check, value, **rest)


async def tell_story(path: Path, stage: Stage, environment: Mapping[str, str]) -> None:
    """Tell a story; raises AssertionError at the first chapter of which something else comes than its file says."""
    story, update = read_story(path), bool(environment.get(UPDATE))
    assert not (update and environment.get("CI")), f"{UPDATE} is for people who read what it writes"
    chapters = []
    for number, chapter in enumerate(story.story):
        for what in chapter.when:
            await happen(stage, what)
        told = cast("list[str]", await _call(stage.tell))
        assert update or told == chapter.then, f"{path.name}, chapter {number}: {chapter.when}"
        chapters.append(Chapter(when=chapter.when, then=told))
    if update:
        update_story(path, Story(title=story.title, story=chapters))


async def _call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    found = function(*arguments, **named)
    return await found if inspect.isawaitable(found) else found

"""The format of golden stories: a YAML file each, in a folder ``stories`` beside the tests that tell them.

``title`` says what the story shows. ``story`` is a list of chapters: what happens (``when``, a list of events), and
what comes of it (``then``, lines that are compared word by word). An event is a mapping: its first key names it, the
others are its arguments; a stage in the tests says which there are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

Event = Annotated[dict[str, Any], Field(min_length=1)]


class Chapter(BaseModel):
    """What happens, and what comes of it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    when: list[Event] = Field(min_length=1)
    then: list[str]


class Story(BaseModel):
    """A file of the format."""

    model_config = ConfigDict(extra="forbid", strict=True)
    title: str = Field(min_length=1)
    story: list[Chapter] = Field(min_length=1)


def list_stories(test: str) -> list[Path]:
    """List the stories beside a test module, given its ``__file__``; there must be some."""
    found = sorted((Path(test).parent / "stories").glob("*.yaml"))
    assert found, f"no stories beside {test}"
    return found


def read_story(path: Path) -> Story:
    """Read a story; raises pydantic's ValidationError where it is not of the format."""
    return Story.model_validate(yaml.safe_load(path.read_text()))


def update_story(path: Path, told: Story) -> None:
    """Write what was told; raises AssertionError where that is new."""
    text = render_story(told)
    if text != path.read_text():
        path.write_text(text)
        raise AssertionError(f"{path.name} was rewritten: read the difference")


def render_story(story: Story) -> str:
    """Return the text of a story's file."""
    return yaml.safe_dump(story.model_dump(), sort_keys=False, allow_unicode=True, width=4096)

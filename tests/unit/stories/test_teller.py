"""The teller of golden stories: what is not of the format fails, and so does whatever comes out otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from tests.support.checkout import ROOT
from tests.unit.stories.book import list_stories, read_story, render_story
from tests.unit.stories.teller import UPDATE, event, tell_story

STORY = """title: A counter counts.
story:
- when:
  - add: 2
    times: 3
  then:
  - counted 6
"""
ALL = sorted((ROOT / "tests" / "unit").rglob("stories/*.yaml"))


class Counter:
    def __init__(self) -> None:
        self.count = 0

    @event("add")
    async def add(self, number: int, *, times: int = 1) -> None:
        self.count += number * times

    @event("set to")
    def set(self, _what: Literal["zero"]) -> None:
        self.count = 0

    def tell(self) -> list[str]:
        return [f"counted {self.count}"]


def write(folder: Path, text: str) -> Path:
    path = folder / "a.yaml"
    path.write_text(text)
    return path


async def test_a_story_that_comes_out_as_written_is_told(tmp_path: Path) -> None:
    await tell_story(write(tmp_path, STORY), Counter(), {})


@pytest.mark.parametrize("then", ["[]", "[counted 7]", "[counted 6, counted 6]"])
async def test_whatever_comes_out_otherwise_fails(tmp_path: Path, then: str) -> None:
    path = write(tmp_path, STORY.replace("\n  - counted 6", f" {then}"))
    with pytest.raises(AssertionError, match=r"a\.yaml, chapter 0"):
        await tell_story(path, Counter(), {})


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("title: A counter counts.\n", "", ValidationError),
        ("title:", "note: x\ntitle:", ValidationError),
        ("  then:", "  other: x\n  then:", ValidationError),
        ("  - add: 2\n    times: 3", "  - {}", ValidationError),
        ("add:", "subtract:", AssertionError),
        ("times:", "time:", ValidationError),
        ("add: 2", "add: '2'", ValidationError),
        ("add: 2\n    times: 3", "set to: one", ValidationError),
    ],
)
async def test_what_is_not_of_the_format_fails(tmp_path: Path, before: str, after: str, error: Any) -> None:
    assert before in STORY
    with pytest.raises(error):
        await tell_story(write(tmp_path, STORY.replace(before, after)), Counter(), {})


async def test_an_update_writes_what_comes_out_and_fails_where_that_is_new(tmp_path: Path) -> None:
    path = write(tmp_path, STORY.replace("counted 6", "counted 7"))
    with pytest.raises(AssertionError, match="was rewritten"):
        await tell_story(path, Counter(), {UPDATE: "1"})
    assert path.read_text() == STORY
    await tell_story(path, Counter(), {UPDATE: "1"})


async def test_ci_never_updates(tmp_path: Path) -> None:
    path = write(tmp_path, STORY.replace("counted 6", "counted 7"))
    with pytest.raises(AssertionError, match=UPDATE):
        await tell_story(path, Counter(), {UPDATE: "1", "CI": "true"})
    assert "counted 7" in path.read_text()


def test_a_folder_without_stories_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no stories"):
        list_stories(str(tmp_path / "test_stories.py"))


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_story_is_written_as_an_update_would(path: Path) -> None:
    """So that an update changes nothing but what has changed; and that no key is there twice."""
    assert path.read_text() == render_story(read_story(path))


def test_every_folder_of_stories_has_one_test_that_tells_them() -> None:
    for folder in {path.parent for path in ALL}:
        tellers = [test for test in folder.parent.glob("test_*.py") if "list_stories(__file__)" in test.read_text()]
        assert len(tellers) == 1, folder

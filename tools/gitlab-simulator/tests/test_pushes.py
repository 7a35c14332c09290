"""What a push asks for, as git sends it, and which push options GitLab knows."""

from __future__ import annotations

import pytest

from gitlab_simulator.git.objects import ZEROS
from gitlab_simulator.git.pktlines import Command, parse_push
from gitlab_simulator.git.repository import Ref
from gitlab_simulator.pushes import RefChange, compute_changes, parse_push_options

OLD, NEW = "1" * 40, "2" * 40


def line(text: str) -> bytes:
    return f"{len(text) + 4:04x}{text}".encode()


def test_commands_come_before_the_options_and_the_pack() -> None:
    first = line(f"{OLD} {NEW} refs/heads/main\0report-status push-options agent=git/2")
    body = first + line(f"{ZEROS} {NEW} refs/tags/v1") + b"0000" + line("ci.skip") + b"0000PACK..."
    found = parse_push(body)
    assert found.commands == (Command(OLD, NEW, "refs/heads/main"), Command(ZEROS, NEW, "refs/tags/v1"))
    assert found.options == ("ci.skip",)


def test_options_are_sent_only_where_git_says_so() -> None:
    body = line(f"{OLD} {NEW} refs/heads/main\0report-status") + b"0000" + line("ci.skip") + b"0000"
    assert parse_push(body).options == ()


@pytest.mark.parametrize("body", [b"no number", b"00ff too short", line("one two"), b"0003"])
def test_what_is_no_push_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  of several functions, and only git sees it
        parse_push(body)


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        (["ci.skip"], {"ci": {"skip": True}}),
        (["ci.variable=A=1", "ci.variable=B=2"], {"ci": {"variable": {"A=1": 1, "B=2": 1}}}),
        (["mr.create", "merge_request.target=main"], {"merge_request": {"create": True, "target": "main"}}),
        (["ci.none", "skip", "other.key=1"], {}),
    ],
)
def test_options_that_gitlab_knows(texts: list[str], options: dict[str, object]) -> None:
    assert parse_push_options(texts) == options


def test_only_branches_and_tags_that_differ_have_changed() -> None:
    before = {"refs/heads/a": Ref(OLD, OLD), "refs/heads/b": Ref(OLD, OLD), "refs/pipelines/1": Ref(OLD, OLD)}
    after = {"refs/heads/b": Ref(OLD, OLD), "refs/tags/v": Ref(NEW, OLD)}
    assert compute_changes(before, after) == (
        RefChange("refs/heads/a", OLD, ZEROS), RefChange("refs/tags/v", ZEROS, NEW),
    )  # fmt: skip

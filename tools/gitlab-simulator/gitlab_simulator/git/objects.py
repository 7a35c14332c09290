"""What git prints of commits, trees and differences, taken apart. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

COMMIT_FORMAT = "%H%n%P%n%an%n%ae%n%at%n%cn%n%ce%n%ct%n%B"
"""For ``git log -z``."""
ZEROS = "0" * 40
"""Stands for no object in pushes and their events."""
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@dataclass(frozen=True)
class Commit:
    """Times are seconds since 1970."""

    sha: str
    parents: tuple[str, ...]
    author_name: str
    author_email: str
    authored_at: float
    committer_name: str
    committer_email: str
    committed_at: float
    message: str

    @property
    def title(self) -> str:
        return self.message.partition("\n")[0]

    @property
    def base(self) -> str:
        """What its changes are counted from: its first parent, or nothing."""
        return self.parents[0] if self.parents else EMPTY_TREE


@dataclass(frozen=True)
class Entry:
    """What a tree has at a path. The mode is six octal digits, the kind ``blob``, ``tree`` or ``commit``."""

    mode: str
    kind: str
    id: str
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Change:
    """A difference of one file; `status` is git's letter: A, D, M, R or T."""

    status: str
    old_path: str
    new_path: str
    old_mode: str
    new_mode: str
    text: str = ""
    """From the first ``@@`` on; empty for what is no text."""


@dataclass(frozen=True)
class Tag:
    """An annotated tag has a tag object and a message; for another one `object` is the commit."""

    name: str
    object: str
    commit: str
    message: str = ""


def parse_commits(output: bytes) -> list[Commit]:
    """Read ``git log -z`` in `COMMIT_FORMAT`."""
    return [_parse_commit(text) for text in output.decode("utf-8", "replace").split("\0") if text.strip()]


def _parse_commit(text: str) -> Commit:
    sha, parents, author, email, authored, committer, their_email, committed, message = text.split("\n", 8)
    return Commit(
        sha, tuple(parents.split()), author, email, float(authored), committer, their_email, float(committed),
        message.rstrip("\n"),
    )  # fmt: skip


def parse_tree(output: bytes) -> list[Entry]:
    """Read ``git ls-tree -z``."""
    entries = []
    for line in output.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        about, _, path = line.partition("\t")
        mode, kind, name = about.split()
        entries.append(Entry(mode, kind, name, path))
    return entries


def parse_raw_changes(output: bytes) -> list[Change]:
    """Read ``git diff --raw -z``: what changed, without how."""
    fields = output.decode("utf-8", "surrogateescape").split("\0")[:-1]
    changes, at = [], 0
    while at < len(fields):
        old_mode, new_mode, _, _, status = fields[at].removeprefix(":").split()
        renamed = status[0] in "RC"
        old, new = fields[at + 1], fields[at + 2] if renamed else fields[at + 1]
        changes.append(Change(status[0], old, new, old_mode, new_mode))
        at += 3 if renamed else 2
    return changes


def split_patch(output: bytes) -> list[str]:
    """Split ``git diff`` at its files; return the text of each from the first ``@@`` on.

    A file that becomes a link has two parts, with one and the same first line.
    """
    lines = output.decode("utf-8", "replace").splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if line.startswith("diff --git ")]
    parts: list[str] = []
    last = ""
    for begin, end in pairwise([*starts, len(lines)]):
        text = _skip_head(lines[begin:end])
        if lines[begin] == last:
            parts[-1] += text
        else:
            parts.append(text)
        last = lines[begin]
    return parts


def _skip_head(lines: list[str]) -> str:
    first = next((number for number, line in enumerate(lines) if line.startswith("@@")), len(lines))
    return "".join(lines[first:])


def build_email(name: str) -> str:
    """Return a made-up address."""
    return f"{name.lower().replace(' ', '.')}@example.com"

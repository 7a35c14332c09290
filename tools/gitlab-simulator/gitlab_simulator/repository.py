"""A project's Git repository, as far as it is simulated: commits with all their files, branches and tags. Pure.

The names of blobs are Git's own; those of commits are made up, as there are no trees.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher

SHORTEST_PREFIX = 4
"""Digits by which Git finds a commit without the others, if it is the only one."""


@dataclass(frozen=True)
class File:
    content: bytes
    executable: bool = False

    @property
    def blob_id(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Commit:
    sha: str
    message: str
    author_name: str
    created_at: float
    files: Mapping[str, File] = field(repr=False)
    """All there are, by their paths."""
    parent: str | None = None

    @property
    def title(self) -> str:
        return self.message.partition("\n")[0]


@dataclass
class Repository:
    """Commits by their names, and what points at them."""

    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def find_commit(self, reference: str, default_branch: str) -> Commit | None:
        """Find by name, its beginning, tag or branch; ``HEAD`` is the head of the default branch."""
        if reference == "HEAD":
            reference = default_branch
        if reference in self.commits:
            return self.commits[reference]
        for kind, refs in (("tags", self.tags), ("heads", self.branches)):
            if sha := refs.get(reference.removeprefix(f"refs/{kind}/")):
                return self.commits[sha]
        if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},}}", reference):
            return None
        found = [commit for sha, commit in self.commits.items() if sha.startswith(reference)]
        return found[0] if len(found) == 1 else None

    def list_branches_with(self, commit: Commit) -> list[str]:
        """The branches that a commit is on, by name."""
        return sorted(name for name, head in self.branches.items() if commit in self.walk(self.commits[head]))

    def walk(self, commit: Commit) -> Iterator[Commit]:
        """A commit and those before it, the latest first."""
        while True:
            yield commit
            if commit.parent is None:
                return
            commit = self.commits[commit.parent]

    def get_last_change(self, commit: Commit, path: str) -> Commit:
        """Return the latest commit that changed a file which a commit has."""
        last = commit
        for one in self.walk(commit):
            if one.files.get(path) != commit.files[path]:
                break
            last = one
        return last

    def count_lines(self, commit: Commit) -> tuple[int, int]:
        """How many lines a commit adds, and how many it takes away."""
        before: Mapping[str, File] = self.commits[commit.parent].files if commit.parent else {}
        added = removed = 0
        for path in {*before, *commit.files}:
            old, new = (files[path].content.splitlines() if path in files else [] for files in (before, commit.files))
            for what, old_from, old_to, new_from, new_to in SequenceMatcher(None, old, new, False).get_opcodes():
                if what != "equal":
                    added, removed = added + new_to - new_from, removed + old_to - old_from
        return added, removed

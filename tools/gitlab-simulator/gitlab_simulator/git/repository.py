"""A project's Git repository: what is asked of it, answered by git. What git can't find is None or empty.

Objects never change, so they are kept once they were read; refs are read again after each change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from .folder import Folder
from .objects import (
    COMMIT_FORMAT,
    ZEROS,
    Change,
    Commit,
    Entry,
    Tag,
    build_email,
    parse_commits,
    parse_raw_changes,
    parse_tree,
    split_patch,
)

HEADS, TAGS = "refs/heads/", "refs/tags/"
_SHA = re.compile(r"[0-9a-f]{4,40}")
"""Git finds a commit by the first four digits or more, if it is the only one."""
_REFS_FORMAT = "--format=%(refname)%00%(objectname)%00%(*objectname)"


@dataclass(frozen=True)
class Ref:
    """What a ref points at, and the commit below that; they differ for an annotated tag."""

    object: str
    commit: str


@dataclass(frozen=True)
class NewCommit:
    """A commit that is made without a push. A file's content by path, None for one that goes."""

    branch: str
    parent: str | None
    message: str
    author: str
    at: float
    files: Mapping[str, bytes | None]
    modes: Mapping[str, str] = field(default_factory=dict)
    """Other than 100644: 100755 for an executable file, 120000 for a symbolic link (whose content is its target)."""


class Repository:
    """A bare repository; its folder is made when it is needed."""

    def __init__(self, default_branch: str = "main") -> None:
        self.default_branch = default_branch
        self.refs: Mapping[str, Ref] = {}
        """By their full names."""
        self._commits: dict[str, Commit | None] = {}
        self._trees: dict[tuple[str, str, bool], list[Entry]] = {}

    @cached_property
    def folder(self) -> Folder:
        """The bare repository itself."""
        return Folder(self.default_branch)

    @property
    def branches(self) -> dict[str, str]:
        """The heads of all branches by name."""
        return self._strip(HEADS)

    @property
    def tags(self) -> dict[str, str]:
        """The commits of all tags by name."""
        return self._strip(TAGS)

    def _strip(self, prefix: str) -> dict[str, str]:
        return {name.removeprefix(prefix): ref.commit for name, ref in self.refs.items() if name.startswith(prefix)}

    def reload(self) -> None:
        """Read the refs again, after git or a push has changed them."""
        lines = self.folder.run("for-each-ref", _REFS_FORMAT).decode("utf-8", "replace").splitlines()
        fields = (line.split("\0") for line in lines)
        self.refs = {name: Ref(found, peeled or found) for name, found, peeled in fields}
        self._commits = {sha: commit for sha, commit in self._commits.items() if commit is not None}

    def add_commit(self, new: NewCommit) -> str:
        """Make a commit; its branch points at it then. Raises GitError."""
        self.folder.run("fast-import", "--quiet", "--force", "--date-format=raw", given=_build_import(new))
        self.reload()
        return self.branches[new.branch]

    def set_ref(self, name: str, commit: str) -> None:
        """Let a ref, given by its full name, point at an object; one that is all zeros deletes it. Raises GitError."""
        if commit == ZEROS:
            self.folder.run("update-ref", "-d", name)
        else:
            self.folder.run("update-ref", name, commit)
        self.reload()

    def fetch(self, other: Repository, source: str, name: str) -> None:
        """Let a ref point at a commit of another repository, of which a ref points at it. Raises GitError."""
        self.folder.run("fetch", "--quiet", "--no-write-fetch-head", str(other.folder.path), f"+{source}:{name}")
        self.reload()

    def copy_from(self, other: Repository) -> None:
        """Take over the branches and tags of another repository. Raises GitError."""
        names = (f"+{prefix}*:{prefix}*" for prefix in (HEADS, TAGS))
        self.folder.run("fetch", "--quiet", "--no-write-fetch-head", str(other.folder.path), *names)
        self.reload()

    def merge(self, branch: str, head: str, message: str, who: tuple[str, float]) -> str | None:
        """Merge a commit into a branch by a merge commit; return its name, None where they conflict."""
        target = self.branches[branch]
        tree = self.find_merged_tree(target, head)
        if tree is None:
            return None
        author, at = who
        signed = f"{author} <{build_email(author)}> {int(at)} +0000"
        lines = [f"tree {tree}", f"parent {target}", f"parent {head}", f"author {signed}", f"committer {signed}"]
        content = "\n".join([*lines, "", message, ""]).encode()
        merged = self.folder.run("hash-object", "-t", "commit", "-w", "--stdin", given=content).decode().strip()
        self.set_ref(HEADS + branch, merged)
        return merged

    def find_merged_tree(self, one: str, other: str) -> str | None:
        """Find the tree that a merge of two commits has; None: they conflict."""
        found = self.folder.find("merge-tree", "--write-tree", one, other)
        return found.decode().split("\n")[0] if found else None

    def find_commit(self, reference: str) -> Commit | None:
        """Find by name, its beginning, tag or branch; ``HEAD`` is the head of the default branch."""
        if reference == "HEAD":
            reference = self.default_branch
        for name in (reference, TAGS + reference, HEADS + reference):
            if name in self.refs:
                return self.get_commit(self.refs[name].commit)
        return self.get_commit(reference) if _SHA.fullmatch(reference) else None

    def get_commit(self, sha: str) -> Commit | None:
        """Find by name or its beginning."""
        if not self.refs and "folder" not in self.__dict__:
            return None
        if sha not in self._commits:
            found = self.folder.find("log", "-z", "-1", f"--format={COMMIT_FORMAT}", f"{sha}^0")
            self._commits[sha] = next(iter(parse_commits(found or b"")), None)
        return self._commits[sha]

    def list_commits(self, *revisions: str, most: int | None = None, path: str = "") -> list[Commit]:
        """The commits that are reached from some and not from others (``^SHA``), the latest first."""
        if not self.refs:
            return []
        limit = [] if most is None else [f"--max-count={most}"]
        output = self.folder.run("log", "-z", f"--format={COMMIT_FORMAT}", *limit, *revisions, "--", *_list(path))
        return parse_commits(output)

    def count_commits(self, *revisions: str) -> int:
        """How many there are, as `list_commits` lists them."""
        return int(self.folder.run("rev-list", "--count", *revisions, "--"))

    def is_ancestor(self, old: str, new: str) -> bool:
        """Return whether a commit is reached from another."""
        return self.folder.find("merge-base", "--is-ancestor", old, new) is not None

    def get_merge_commit(self, sha: str, head: str) -> str:
        """Return the commit by which one has come into a branch: itself, if it was committed there.

        Source: lib/gitlab/branch_push_merge_commit_analyzer.rb
        """
        after = [one for one in self.list_commits("--first-parent", head, f"^{sha}") if self.is_ancestor(sha, one.sha)]
        return sha if not after or after[-1].parents[0] == sha else after[-1].sha

    def find_merge_base(self, one: str, other: str) -> str | None:
        """Find the latest commit that both are reached from."""
        found = self.folder.find("merge-base", one, other)
        return found.decode().strip() if found else None

    def list_branches_with(self, sha: str) -> list[str]:
        """The branches that a commit is on, by name."""
        found = self.folder.run("for-each-ref", f"--contains={sha}", "--format=%(refname)", HEADS)
        return sorted(name.removeprefix(HEADS) for name in found.decode().splitlines())

    def list_tree(self, sha: str, path: str = "", *, recursive: bool = False) -> list[Entry]:
        """What a commit has in a folder; empty for a folder that it does not have."""
        key = (sha, path, recursive)
        if key not in self._trees:
            depth = ["-r", "-t"] if recursive else []
            found = self.folder.run("ls-tree", "-z", *depth, sha, "--", *_list(f"{path.strip('/')}/" if path else ""))
            self._trees[key] = [entry for entry in parse_tree(found) if entry.path != path.strip("/")]
        return self._trees[key]

    def find_file(self, sha: str, path: str) -> Entry | None:
        """Find a file, or a symbolic link, that a commit has."""
        above = path.rpartition("/")[0]
        return next((one for one in self.list_tree(sha, above) if (one.path, one.kind) == (path, "blob")), None)

    def read_blob(self, name: str) -> bytes:
        """Return a file's content. Raises GitError: there is none of that name."""
        return self.folder.run("cat-file", "blob", name)

    def get_last_change(self, sha: str, path: str) -> Commit:
        """Return the latest commit that changed a file which a commit has."""
        return self.list_commits(sha, most=1, path=path)[0]

    def count_lines(self, commit: Commit) -> tuple[int, int]:
        """How many lines a commit adds, and how many it takes away."""
        output = self.folder.run("diff", "--numstat", commit.base, commit.sha).decode("utf-8", "replace")
        counts = [line.split("\t", 2)[:2] for line in output.splitlines()]
        added, removed = ([int(one) for one in column if one.isdecimal()] for column in zip(*counts, strict=True)) \
            if counts else ([], [])  # fmt: skip
        return sum(added), sum(removed)

    def list_changed_paths(self, old: str, new: str) -> list[Change]:
        """What differs between two commits, or trees, without how."""
        return parse_raw_changes(self.folder.run("diff", "--raw", "-z", "-M", old, new))

    def list_changes(self, old: str, new: str) -> list[Change]:
        """What differs between two commits, or trees."""
        changes = self.list_changed_paths(old, new)
        texts = split_patch(self.folder.run("diff", "-M", old, new))
        return [replace(change, text=text) for change, text in zip(changes, texts, strict=True)]

    def list_tags(self) -> list[Tag]:
        """All tags, those that are the latest by name first."""
        names = sorted((name for name in self.refs if name.startswith(TAGS)), reverse=True)
        return [self._get_tag(name) for name in names]

    def find_tag(self, name: str) -> Tag | None:
        """Find one by name."""
        return self._get_tag(TAGS + name) if TAGS + name in self.refs else None

    def _get_tag(self, name: str) -> Tag:
        ref, message = self.refs[name], ""
        if ref.object != ref.commit:
            message = self.folder.run("for-each-ref", "--format=%(contents)", name).decode("utf-8", "replace").rstrip()
        return Tag(name.removeprefix(TAGS), ref.object, ref.commit, message)


def _list(path: str) -> Sequence[str]:
    return [path] if path else []


def _build_import(new: NewCommit) -> bytes:
    """Return a stream for ``git fast-import``: https://git-scm.com/docs/git-fast-import"""
    who = f"{new.author} <{build_email(new.author)}> {int(new.at)} +0000"
    message = new.message.encode()
    head = f"commit {HEADS}{new.branch}\nauthor {who}\ncommitter {who}\ndata {len(message)}\n".encode()
    parts = [head, message, b"\n"]
    if new.parent:
        parts.append(f"from {new.parent}\n".encode())
    for path, content in new.files.items():
        quoted = '"{}"'.format(path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        if content is None:
            parts.append(f"D {quoted}\n".encode())
        else:
            mode = new.modes.get(path, "100644")
            parts += [f"M {mode} inline {quoted}\ndata {len(content)}\n".encode(), content, b"\n"]
    return b"".join([*parts, b"done\n"])

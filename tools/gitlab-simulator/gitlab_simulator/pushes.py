"""Who may push what, and what a push is told as.

Source of the refusals: lib/gitlab/checks/{branch_check,tag_check}.rb, lib/gitlab/git_access.rb
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .git.objects import ZEROS
from .git.pktlines import Command
from .git.repository import HEADS, TAGS, Ref
from .matching import compute_is_protected
from .model import MAINTAINER, Project

PUSH_OPTIONS = {
    "merge_request": frozenset({
        "assign", "create", "description", "draft", "label", "merge_when_pipeline_succeeds", "milestone",
        "remove_source_branch", "target", "target_project", "title", "unassign", "unlabel",
    }),
    "ci": frozenset({"skip", "variable"}),
    "integrations": frozenset({"skip_ci"}),
    "secret_detection": frozenset({"skip_all"}),
}  # fmt: skip
"""Those that GitLab knows. Source: lib/gitlab/push_options.rb"""
COUNTED = frozenset({
    ("ci", "variable"), ("merge_request", "label"), ("merge_request", "unlabel"), ("merge_request", "assign"),
    ("merge_request", "unassign"),
})  # fmt: skip
"""Those that may be given several times."""
_OPTION = re.compile(r"(?P<namespace>[^.]+)\.(?P<key>[^=]+)=?(?P<value>.*)")
_SHA_NAME = re.compile(r"[0-9a-f]{40}(-/|/|$)")


@dataclass(frozen=True)
class RefChange:
    """A branch or tag, given by its full name, points at another object; zeros stand for none."""

    ref: str
    old: str
    new: str


@dataclass(frozen=True)
class Push:
    """What one push has changed."""

    project: Project
    user_id: int
    changes: tuple[RefChange, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def find_refusal(project: Project, access: int, commands: Iterable[Command]) -> str | None:
    """Return why a push is refused as a whole, by the access level of the user; None: it is not."""
    for command in commands:
        said = None
        if command.ref.startswith(HEADS):
            said = _find_branch_refusal(project, access, command)
        elif command.ref.startswith(TAGS):
            name = command.ref.removeprefix(TAGS)
            if access < MAINTAINER and compute_is_protected(project, name, tag=True):
                deleted, new = command.new == ZEROS, command.old == ZEROS
                said = f"You are not allowed to {'create this tag as it is' if new else 'delete this tag as it is'} "
                said = said + "protected." if new or deleted else "Protected tags cannot be updated."
        if said is not None:
            return said
    return None


def _find_branch_refusal(project: Project, access: int, command: Command) -> str | None:
    name, deleted = command.ref.removeprefix(HEADS), command.new == ZEROS
    if deleted and name == project.default_branch:
        return "The default branch of a project cannot be deleted."
    if not deleted and _SHA_NAME.match(name):
        return "You cannot create a branch with a 40-character hexadecimal branch name."
    if not compute_is_protected(project, name, tag=False):
        return None
    if deleted:
        if access < MAINTAINER:
            return (
                "You are not allowed to delete protected branches from this project. "
                "Only a project maintainer or owner can delete a protected branch."
            )
        return "You can only delete protected branches using the web interface."
    if access >= MAINTAINER:
        return None
    if command.old == ZEROS and project.repository.branches:
        return "You are not allowed to create protected branches on this project."
    return "You are not allowed to push code to protected branches on this project."


def list_kept(project: Project, commands: Iterable[Command]) -> list[str]:
    """The refs of a push that must not lose commits."""
    changed = (one for one in commands if ZEROS not in (one.old, one.new) and one.ref.startswith(HEADS))
    return [one.ref for one in changed if compute_is_protected(project, one.ref.removeprefix(HEADS), tag=False)]


def compute_changes(before: Mapping[str, Ref], after: Mapping[str, Ref]) -> tuple[RefChange, ...]:
    """What differs among the branches and tags."""
    names = [name for name in sorted({*before, *after}) if name.startswith((HEADS, TAGS))]
    ends = [(name, *(refs[name].object if name in refs else ZEROS for refs in (before, after))) for name in names]
    return tuple(RefChange(name, old, new) for name, old, new in ends if old != new)


def parse_push_options(texts: Iterable[str]) -> dict[str, Any]:
    """Return the push options that GitLab knows, as events tell them: ``{"ci": {"skip": true}}``."""
    options: dict[str, Any] = {}
    for text in texts:
        match = _OPTION.fullmatch(text)
        if match is None:
            continue
        namespace, key, value = (match[name].strip() for name in ("namespace", "key", "value"))
        namespace = "merge_request" if namespace == "mr" else namespace
        if key not in PUSH_OPTIONS.get(namespace, ()):
            continue
        found = options.setdefault(namespace, {})
        if (namespace, key) in COUNTED:
            counts = found.setdefault(key, {})
            counts[value] = counts.get(value, 0) + 1
        else:
            found[key] = value or True
    return options

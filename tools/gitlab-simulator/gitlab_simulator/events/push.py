"""Pushes to branches and tags.

Source: lib/gitlab/data_builder/push.rb, app/services/git/{branch_hooks,tag_hooks,process_ref_changes}_service.rb
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ..git.objects import ZEROS, Commit
from ..git.repository import HEADS, TAGS
from ..matching import compute_is_protected
from ..pushes import Push, RefChange
from ..state import GitLabState
from .event import Event
from .parts import build_avatar, build_commit, build_project, build_repository, build_user_name

SHOWN_COMMITS = 20
"""The latest ones."""


@dataclass(frozen=True)
class _Commits:
    """The oldest first."""

    shown: tuple[Commit, ...] = ()
    total: int = 0


def build_events(state: GitLabState, push: Push) -> list[Event]:
    """An event for each branch and tag; none for those of which too many were created, moved or deleted at once."""
    kinds = Counter(_get_kind(change) for change in push.changes)
    limit = state.settings.push_event_hooks_limit
    return [_build_event(state, push, one) for one in push.changes if kinds[_get_kind(one)] <= limit]


def _get_kind(change: RefChange) -> tuple[bool, str]:
    action = "created" if change.old == ZEROS else "removed" if change.new == ZEROS else "pushed"
    return change.ref.startswith(TAGS), action


def _build_event(state: GitLabState, push: Push, change: RefChange) -> Event:
    tag = change.ref.startswith(TAGS)
    kind = "tag_push" if tag else "push"
    commits = _find_tag_commit(push, change) if tag else _find_branch_commits(push, change)
    user = state.users[push.user_id]
    ref = push.project.repository.refs.get(change.ref)
    body = {
        "object_kind": kind,
        "event_name": kind,
        "before": change.old,
        "after": change.new,
        "ref": change.ref,
        "ref_protected": compute_is_protected(push.project, change.ref.removeprefix(TAGS if tag else HEADS), tag=tag),
        "checkout_sha": None if change.new == ZEROS else ref.commit if tag and ref else change.new,
        "message": _find_message(push, change) if tag else None,
        "user_id": user.id,
        "user_name": build_user_name(user),
        "user_username": user.username,
        "user_email": "",
        "user_avatar": build_avatar(state, user),
        "project_id": push.project.id,
        "project": build_project(state, push.project),
        "commits": [_build_changed_commit(state, push, commit) for commit in commits.shown],
        "total_commits_count": commits.total,
        "push_options": dict(push.options),
        "repository": build_repository(
            state, push.project, "git_http_url", "git_ssh_url", "visibility_level"
        ),
    }  # fmt: skip
    return Event(f"{kind}_events", "Tag Push Hook" if tag else "Push Hook", push.project.id, body)


def _find_branch_commits(push: Push, change: RefChange) -> _Commits:
    """Those that are new: to the branch, or, on a new branch, to the default branch."""
    repository = push.project.repository
    if change.new == ZEROS:
        return _Commits()
    known = change.old
    if change.old == ZEROS:
        default = repository.branches.get(push.project.default_branch)
        known = ZEROS if change.ref == HEADS + push.project.default_branch or default is None else default
    revisions = [change.new] if known == ZEROS else [change.new, f"^{known}"]
    shown = repository.list_commits(*revisions, most=SHOWN_COMMITS)
    total = len(shown) if len(shown) < SHOWN_COMMITS else repository.count_commits(*revisions)
    return _Commits(tuple(reversed(shown)), total)


def _find_tag_commit(push: Push, change: RefChange) -> _Commits:
    ref = push.project.repository.refs.get(change.ref)
    commit = push.project.repository.get_commit(ref.commit) if ref and change.new == ref.object else None
    return _Commits((commit,), 1) if commit else _Commits()


def _find_message(push: Push, change: RefChange) -> str | None:
    found = push.project.repository.find_tag(change.ref.removeprefix(TAGS))
    return found.message if found and found.object != found.commit else None


def _build_changed_commit(state: GitLabState, push: Push, commit: Commit) -> dict[str, Any]:
    changed: dict[str, list[str]] = {"added": [], "modified": [], "removed": []}
    for change in push.project.repository.list_changed_paths(commit.base, commit.sha):
        if change.status == "D":
            changed["removed"].append(change.old_path)
        else:
            changed["added" if change.status in ("A", "R") else "modified"].append(change.new_path)
    return build_commit(state, push.project, commit) | changed

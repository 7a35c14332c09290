"""What several events have: projects, users, commits, times. Pure.

Source: hook_attrs in app/models/{project,user,commit}.rb
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from ..git.objects import Commit
from ..model import Project, Runner, RunnerType, User
from ..state import GitLabState

LEVELS = {"private": 0, "public": 20}
"""visibility_level by visibility"""


def build_project(state: GitLabState, project: Project, *, backward: bool = True) -> dict[str, Any]:
    """A project; ``backward`` adds the names that its addresses had before."""
    namespace, _, name = project.full_path.rpartition("/")
    web_url = f"{state.external_url}/{project.full_path}"
    ssh_url = f"git@{urlsplit(state.external_url).hostname}:{project.full_path}.git"
    shown = {
        "id": project.id,
        "name": name,
        "description": "",
        "web_url": web_url,
        "avatar_url": None,
        "git_ssh_url": ssh_url,
        "git_http_url": f"{web_url}.git",
        "namespace": namespace.rpartition("/")[2],
        "visibility_level": LEVELS[project.visibility],
        "path_with_namespace": project.full_path,
        "default_branch": project.default_branch,
        "ci_config_path": "",
    }
    old = {"homepage": web_url, "url": ssh_url, "ssh_url": ssh_url, "http_url": f"{web_url}.git"}
    return shown | (old if backward else {})


def build_repository(state: GitLabState, project: Project, *more: str) -> dict[str, Any]:
    """A project as GitLab told it long ago."""
    shown = build_project(state, project)
    return {name: shown[name] for name in ("name", "url", "description", "homepage", *more)}


def build_user(state: GitLabState, user_id: int | None) -> dict[str, Any] | None:
    """A user; the address is hidden, unless the user shows it."""
    user = state.users.get(user_id or 0)
    if user is None:
        return None
    return {
        "id": user.id,
        "name": build_user_name(user),
        "username": user.username,
        "avatar_url": build_avatar(state, user),
        "email": "[REDACTED]",
    }


def build_user_name(user: User) -> str:
    return user.username.capitalize()


def build_user_email(user: User) -> str:
    return f"{user.username}@example.com"


def build_avatar(state: GitLabState, user: User) -> str:
    return f"{state.external_url}/uploads/-/system/user/avatar/{user.id}/avatar.png"


def build_commit(state: GitLabState, project: Project, commit: Commit) -> dict[str, Any]:
    """A commit, without what it changed."""
    return {
        "id": commit.sha,
        "message": commit.message,
        "title": commit.title,
        "timestamp": build_offset_time(commit.committed_at),
        "url": f"{state.external_url}/{project.full_path}/-/commit/{commit.sha}",
        "author": {"name": commit.author_name, "email": commit.author_email},
    }


def build_runner(runner: Runner | None) -> dict[str, Any] | None:
    if runner is None:
        return None
    return {
        "id": runner.id,
        "description": runner.description,
        "runner_type": runner.type.value,
        "active": not runner.paused,
        "is_shared": runner.type is RunnerType.INSTANCE,
        "tags": list(runner.tags),
    }


def build_offset_time(seconds: float) -> str:
    """Such as ``2026-01-02T03:04:05+00:00``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def build_utc_time(seconds: float | None) -> str | None:
    """Such as ``2026-01-02 03:04:05 UTC``."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"

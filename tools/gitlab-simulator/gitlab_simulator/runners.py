"""Runners as users manage them: created, changed, rotated, deleted; and the rules that GitLab checks.

Source: https://docs.gitlab.com/api/users/#create-a-runner-linked-to-a-user, https://docs.gitlab.com/api/runners/
How long tokens are valid: https://docs.gitlab.com/ci/runners/configure_runners/#automatically-rotate-runner-authentication-tokens
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .matching import compute_is_below
from .model import Group, Project, Runner, RunnerType
from .spec import RunnerSpec
from .state import GitLabState, compute_token

ONLINE_SECONDS = 2 * 3600
STALE_SECONDS = 7 * 24 * 3600
SHORTEST_TIMEOUT = 600


class RejectedError(Exception):
    """GitLab refuses the values; the text says why, in the words of its validation."""


def create_runner(state: GitLabState, spec: RunnerSpec) -> Runner:
    """Create a runner whose scope was checked.

    Raises:
        RejectedError: the values don't fit together.
    """
    runner = Runner(
        id=state.next_id("runner"),
        type=RunnerType(spec.runner_type),
        token=compute_token("glrt-"),
        created_at=state.clock.now(),
        group_id=spec.group_id,
        project_ids=[spec.project_id] if spec.project_id else [],
        description=spec.description,
        maintenance_note=spec.maintenance_note,
        paused=spec.paused,
        locked=spec.locked,
        access_level=spec.access_level,
        run_untagged=spec.run_untagged,
        tags=compute_tags(spec.tag_list),
        maximum_timeout=spec.maximum_timeout,
        token_expires_at=parse_time(spec.token_expires_at),
    )
    _check(runner)
    if runner.token_expires_at is None:
        runner.token_expires_at = _compute_expiry(state, runner)
    state.runners[runner.id] = runner
    return runner


def compute_tags(tags: str | list[str]) -> list[str]:
    """Take apart at commas, as GitLab does; each tag once."""
    parts = (part.strip() for tag in ([tags] if isinstance(tags, str) else tags) for part in tag.split(","))
    return sorted({part for part in parts if part})


def parse_time(text: str | None) -> float | None:
    """Read a time in ISO 8601; a plain date means its beginning in UTC.

    Raises:
        RejectedError: it is no time.
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RejectedError("token_expires_at is invalid") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _check(runner: Runner) -> None:
    if not runner.run_untagged and not runner.tags:
        raise RejectedError("Tags list can not be empty when runner is not allowed to pick untagged jobs")
    if runner.maximum_timeout is not None and runner.maximum_timeout < SHORTEST_TIMEOUT:
        raise RejectedError("Maximum timeout needs to be at least 10 minutes")
    if any(len(tag) > 255 for tag in runner.tags):
        raise RejectedError("Tags is too long (maximum is 255 characters)")


def update_runner(runner: Runner, changes: dict[str, Any]) -> None:
    """Change what ``PUT /runners/:id`` may change.

    Raises:
        RejectedError: the values don't fit together; nothing is changed then.
    """
    if "active" in changes:
        changes = {**changes, "paused": not changes["active"]}
    names = ("description", "paused", "locked", "run_untagged", "access_level", "maximum_timeout", "maintenance_note")
    before = dict(vars(runner))
    for name in names:
        if name in changes:
            setattr(runner, name, changes[name])
    if "tag_list" in changes:
        runner.tags = compute_tags(changes["tag_list"] or [])
    try:
        _check(runner)
    except RejectedError:
        vars(runner).update(before)
        raise


def rotate_token(state: GitLabState, runner: Runner) -> None:
    """Return the runner another token; the old one is refused from now on.

    Its life span is that of the settings for the runner's type, which an expiry given at creation does not outlive.
    """
    runner.token = compute_token("glrt-")
    runner.token_expires_at = _compute_expiry(state, runner)


def _compute_expiry(state: GitLabState, runner: Runner) -> float | None:
    """Return when a token that is made now ends: the shortest interval of all that hold for the runner; None: never."""
    settings = state.settings
    if runner.type is RunnerType.INSTANCE:
        intervals = [settings.runner_token_expiration_interval]
    elif runner.type is RunnerType.GROUP:
        group = state.groups[runner.group_id or 0]
        intervals = [settings.group_runner_token_expiration_interval, group.runner_token_expiration_interval]
        intervals += [one.subgroup_runner_token_expiration_interval for one in _list_above(state, group)]
    else:
        intervals = [settings.project_runner_token_expiration_interval]
        for project in (state.projects[number] for number in runner.project_ids):
            intervals.append(project.runner_token_expiration_interval)
            intervals += [one.project_runner_token_expiration_interval for one in _list_above(state, project)]
    return min((state.clock.now() + one for one in intervals if one is not None), default=None)


def _list_above(state: GitLabState, what: Group | Project) -> list[Group]:
    return [one for one in state.groups.values() if compute_is_below(what.full_path, one.full_path)]


def compute_runner_status(runner: Runner, now: float) -> str:
    """https://docs.gitlab.com/ci/runners/runners_scope/#runner-statuses"""
    if runner.contacted_at is None:
        return "stale" if now - runner.created_at >= STALE_SECONDS else "never_contacted"
    age = now - runner.contacted_at
    return "online" if age < ONLINE_SECONDS else "stale" if age >= STALE_SECONDS else "offline"


def compute_token_is_valid(runner: Runner | None, now: float) -> bool:
    """Return whether a runner's token is known and has not ended."""
    return runner is not None and (runner.token_expires_at is None or runner.token_expires_at > now)

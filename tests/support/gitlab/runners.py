"""Runners as users manage them: created, changed, rotated, deleted; and the rules that GitLab checks.

Source: https://docs.gitlab.com/api/users/#create-a-runner-linked-to-a-user, https://docs.gitlab.com/api/runners/
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .model import Runner, RunnerType
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


def rotate_token(runner: Runner) -> None:
    """Give the runner another token; the old one is refused from now on.

    A token's life span, where there is one, starts anew only if an administrator set one for all; here it never ends.
    """
    runner.token = compute_token("glrt-")
    runner.token_expires_at = None


def compute_runner_status(runner: Runner, now: float) -> str:
    """https://docs.gitlab.com/ci/runners/runners_scope/#runner-statuses"""
    if runner.contacted_at is None:
        return "stale" if now - runner.created_at >= STALE_SECONDS else "never_contacted"
    age = now - runner.contacted_at
    return "online" if age < ONLINE_SECONDS else "stale" if age >= STALE_SECONDS else "offline"


def compute_token_is_valid(runner: Runner | None, now: float) -> bool:
    """Tell whether a runner's token is known and has not ended."""
    return runner is not None and (runner.token_expires_at is None or runner.token_expires_at > now)

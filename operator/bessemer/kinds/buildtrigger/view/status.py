"""How a trigger is: the line of a list, and the whole picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType

from bessemer.api.buildtrigger.resource import parse_build_trigger
from bessemer.api.buildtrigger.status import BuildTriggerStatus, EventStatus
from bessemer.console.terminal import build_cell, build_table
from bessemer.kinds.buildtrigger.rules import get_scope

COMMIT_DIGITS = 12


def summarize_trigger(raw: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return whether a trigger is ready, why, and what it does."""
    status = parse_build_trigger(raw).status
    ready, counts = status.condition("Ready"), describe_counts(status)
    return (ready.status, ready.reason, counts) if ready else ("Unknown", "", counts)


def build_trigger_status(raw: Mapping[str, Any]) -> RenderableType:
    """Return the whole picture of a trigger."""
    trigger = parse_build_trigger(raw)
    status = trigger.status
    project = f": {get_scope(trigger.spec)} at {trigger.spec.gitlab.url}" if trigger.spec else ""
    conditions = [(each.type, each.status, each.reason, each.message) for each in status.conditions]
    builds = [(build.name, build.state, build.ref, build.commit[:COMMIT_DIGITS]) for build in status.builds]
    return Group(
        build_cell(f"buildtrigger/{trigger.name} in {trigger.namespace}{project}", "bold"),
        build_cell(f"path of the webhook: {status.webhook_path}"),
        "",
        build_cell(describe_counts(status)),
        "",
        build_table(("EVENT", "REF", "COMMIT", "RULE", "STATE", "MESSAGE"), list(map(build_row, status.events))),
        "",
        build_table(("BUILD", "STATE", "REF", "COMMIT"), builds),
        "",
        build_table(("CONDITION", "STATUS", "REASON", "MESSAGE"), conditions),
    )


def build_row(event: EventStatus) -> tuple[str, str, str, str, str, str]:
    """Return the cells of an event."""
    state = f"{event.state} ({event.position})" if event.position is not None else event.state.value
    return (
        event.kind,
        f"{event.project} {event.ref}".strip(),
        event.commit[:COMMIT_DIGITS],
        event.rule,
        state,
        event.message or event.reason,
    )


def describe_counts(status: BuildTriggerStatus) -> str:
    """Return the numbers in a sentence."""
    last = f"; last: {status.last_event} {status.last_result}".rstrip() if status.last_event else ""
    return f"{status.active} building, {status.queued} waiting{last}"

"""Which projects a trigger is for, and of which one an event is. Pure."""

from __future__ import annotations

from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.gitlab.protocol import Scope
from bessemer.kinds.buildtrigger.records import RecordedEvent


def get_project(spec: BuildTriggerSpec, event: RecordedEvent) -> str:
    """Return the full path of the project that an event is about."""
    return event.project or spec.gitlab.project or ""


def overlap(one: Scope, other: Scope) -> bool:
    """Return whether two triggers are, at least in part, for the same projects."""
    same = one.path.lower() == other.path.lower()
    return same or one.has_project(other.path) or other.has_project(one.path)

"""The status of a BuildTrigger; each reconcile pass computes all of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from bessemer.api.base import ATOMIC_LIST, ApiModel, Condition, Conditioned, PrintableLine, PrintableText, list_map

SHOWN_EVENTS = 20
"""Maximum number of events in the status, the latest first."""
SHOWN_BUILDS = 64
MOST_REFS = 200
"""Maximum number of branches and tags that are compared."""


class EventState(StrEnum):
    """How far an event is."""

    WAITING = "Waiting"
    """Not looked at yet, or can't be: GitLab is not reachable, or the trigger is suspended."""
    QUEUED = "Queued"
    """Waits for an earlier build of the same cluster."""
    BUILDING = "Building"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    PLANNED = "Planned"
    """Its manifests are allowed and valid; nothing was built (mode Plan)."""
    REFUSED = "Refused"
    """A manifest is not valid or not allowed."""
    SUPERSEDED = "Superseded"
    """A later commit took its place before it was built."""
    SKIPPED = "Skipped"
    """It leads to nothing, such as a commit with [skip ci]."""


FINAL = frozenset(EventState) - {EventState.WAITING, EventState.QUEUED, EventState.BUILDING}
"""States that never change."""


class EventStatus(ApiModel):
    """One event of GitLab."""

    name: PrintableLine = Field(max_length=253)
    """Name of the ConfigMap that records the event."""
    received: datetime
    """When it was received."""
    kind: PrintableLine = Field(max_length=32)
    """What happened: push or tag."""
    project: PrintableLine = Field(default="", max_length=1024)
    """Full path of the project, where the trigger is for a group."""
    ref: PrintableLine = Field(max_length=255)
    """The branch or tag, such as refs/heads/main."""
    commit: PrintableLine = Field(max_length=64)
    """The commit."""
    rule: PrintableLine = Field(max_length=63)
    """Name of the rule."""
    actor: PrintableLine = Field(default="", max_length=255)
    """User name in GitLab of who caused it."""
    state: EventState
    """How far it is."""
    reason: PrintableLine = Field(default="", max_length=128)
    """Why it is in this state, as one CamelCase word."""
    message: PrintableText = Field(default="", max_length=2048)
    """Why it is in this state, in a sentence."""
    position: int | None = Field(default=None, ge=1)
    """Place in the queue, counted from 1; absent unless it is queued."""
    builds: list[PrintableLine] = Field(default_factory=list, max_length=SHOWN_BUILDS, json_schema_extra=ATOMIC_LIST)
    """Names of its ClusterBuilds."""


class BuildStatus(ApiModel):
    """One ClusterBuild of the trigger."""

    name: PrintableLine = Field(max_length=253)
    """Name of the ClusterBuild."""
    commit: PrintableLine = Field(default="", max_length=64)
    """The commit that it was last changed for."""
    ref: PrintableLine = Field(default="", max_length=255)
    """The branch or tag of that commit."""
    state: PrintableLine = Field(default="", max_length=32)
    """Building, Ready or Failed."""


class RefStatus(ApiModel):
    """A branch or tag for which there is a rule."""

    project: PrintableLine = Field(default="", max_length=1024)
    """Full path of its project, where the trigger is for a group."""
    ref: PrintableLine = Field(max_length=300)
    """Its full name, such as refs/heads/main."""
    commit: PrintableLine = Field(max_length=64)
    """The commit that it pointed at when the branches and tags were last compared."""


class BuildTriggerStatus(Conditioned):
    """The observed state of the trigger."""

    observed_generation: int = Field(default=0, ge=0)
    """The generation of the spec that this status was computed from."""
    webhook_path: PrintableLine = Field(default="", max_length=512)
    """Path of the URL to which GitLab's webhook must post, below the operator's address for webhooks."""
    last_event: PrintableLine = Field(default="", max_length=512)
    """The latest event: what happened, to which ref, at which commit."""
    last_result: PrintableLine = Field(default="", max_length=128)
    """What became of the latest finished event."""
    active: int = Field(default=0, ge=0)
    """Number of ClusterBuilds of this trigger that are being built."""
    queued: int = Field(default=0, ge=0)
    """Number of events that wait."""
    builds: list[BuildStatus] = Field(default_factory=list, max_length=SHOWN_BUILDS, json_schema_extra=list_map("name"))
    """ClusterBuilds of this trigger."""
    events: list[EventStatus] = Field(default_factory=list, max_length=SHOWN_EVENTS, json_schema_extra=list_map("name"))
    """The latest events, the latest first."""
    refs: list[RefStatus] | None = Field(
        default=None, max_length=MOST_REFS, json_schema_extra=list_map("project", "ref")
    )
    """Branches and tags for which there is a rule, as they were last compared; absent until then. What changes after
    that, and was told by no webhook, is found by the next comparison."""
    handled_again: str = Field(default="", max_length=253)
    """Last value of the annotation bessemer.dev/again that was acted upon."""
    conditions: list[Condition] = Field(default_factory=list, max_length=16, json_schema_extra=list_map("type"))
    """Conditions of the trigger."""

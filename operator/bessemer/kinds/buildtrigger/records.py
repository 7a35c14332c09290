"""The durable record of an event: a ConfigMap that is written before the webhook is answered. Pure.

Its name is made of what identifies the event, so that the API server's 409 settles duplicates. Users of the namespace
may write ConfigMaps; so what the operator wrote is sealed with its own key, and anything else is ignored. There is no
protection against users who delete a record: GitLab's next delivery of the event then counts as a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field, ValidationError

from bessemer.api.base import ApiModel, PrintableLine, PrintableText, write_json
from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.api.buildtrigger.status import SHOWN_BUILDS, EventState
from bessemer.api.names import build_label_value, event_record_name
from bessemer.api.wellknown import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OUTCOME_SEAL_ANNOTATION,
    REPORT_SEAL_ANNOTATION,
    SEAL_ANNOTATION,
    TRIGGER_LABEL,
    UNWANTED_ANNOTATION,
)
from bessemer.engine.ownkey import Seal
from bessemer.foreign import Unreadable, decode_json
from bessemer.gitlab.events import MergeRequestEvent
from bessemer.kinds.buildtrigger.reported import ReportState
from bessemer.kinds.buildtrigger.rules import Match
from bessemer.kube.protocol import Object

EVENT_KEY, OUTCOME_KEY, REPORT_KEY, UNWANTED_KEY = "event", "outcome", "report", "unwanted"
JOB_KIND = "job"
"""Kind of the event that a job has asked for a build."""
MOST_BYTES = 64 * 1024
MOST_PLAN_CHARACTERS = 32_768


Place = tuple[str, str]
"""Project in lower case, empty for the trigger's own, and full name of a ref."""


class RecordedJob(ApiModel):
    """A job that asked for a build, and of what."""

    id: int = Field(ge=1)
    pipeline: int = Field(ge=1)
    manifest: PrintableLine = Field(default="", max_length=1024)
    """Path of the only file that is read; empty: all of the trigger."""
    cluster: PrintableLine = Field(default="", max_length=253)
    """Name of the only ClusterBuild that is built; empty: all in the files."""
    waits: bool = True
    """Whether the job waits for the build, so that the build is aborted when the job is over."""


class RecordedEvent(ApiModel):
    """What happened in GitLab."""

    kind: PrintableLine = Field(max_length=32)
    project: PrintableLine = Field(default="", max_length=1024)
    """Full path of the project, of a trigger for a group; empty: the trigger's own."""
    ref: PrintableLine = Field(max_length=300)
    """Full name, such as refs/heads/main."""
    commit: str = Field(pattern="^[0-9a-f]{40}([0-9a-f]{24})?$")
    before: str | None = Field(default=None, pattern="^[0-9a-f]{40}([0-9a-f]{24})?$")
    """The commit that the ref pointed at; None: the ref is new."""
    rule: PrintableLine = Field(max_length=63)
    """Name of the first rule that fits, as far as the event itself tells."""
    actor: PrintableLine = Field(default="", max_length=255)
    received: datetime
    job: RecordedJob | None = None
    """The job that asked for the build; None for events of other kinds."""
    command: PrintableLine = Field(default="", max_length=16)
    """What a comment asks for: build, retry, abort or plan."""
    actor_id: int = Field(default=0, ge=0)
    """GitLab's number of the user who commented."""
    comment: int = Field(default=0, ge=0)
    """GitLab's number of the comment; 0 for events of other kinds."""
    again: PrintableLine = Field(default="", max_length=253)
    """What distinguishes an event that is handled again on request; empty for the first time."""

    @property
    def place(self) -> Place:
        """Where it happened."""
        return self.project.lower(), self.ref


class Outcome(ApiModel):
    """How far an event is; absent from its record until its builds are applied, or it needs none."""

    state: EventState
    reason: PrintableLine = Field(max_length=128)
    message: PrintableText = Field(default="", max_length=2048)
    at: datetime
    rule: PrintableLine = Field(default="", max_length=63)
    """Name of the rule that was followed."""
    builds: list[PrintableLine] = Field(default_factory=list, max_length=SHOWN_BUILDS)
    """Names of the ClusterBuilds that were applied."""
    plan: PrintableText = Field(default="", max_length=MOST_PLAN_CHARACTERS)
    """In mode Plan: what would be done, as text."""


@dataclass(frozen=True)
class Record:
    """One recorded event."""

    name: str
    event: RecordedEvent
    outcome: Outcome | None = None
    """None: it waits."""
    unwanted: bool = False
    """Whether the job that asked for it has taken that back."""
    report: ReportState | None = None
    """None: GitLab was told nothing of it."""

    @property
    def order(self) -> tuple[datetime, str]:
        """By which records are sorted: the earliest first."""
        return self.event.received, self.name


_PARTS = (
    (OUTCOME_KEY, OUTCOME_SEAL_ANNOTATION, Outcome),
    (REPORT_KEY, REPORT_SEAL_ANNOTATION, ReportState),
)
"""What is added to a record later; the keys are attributes of Record."""


@dataclass(frozen=True)
class Records:
    """The records of a trigger."""

    own: tuple[Record, ...]
    """Sorted, the earliest first."""
    forged: tuple[str, ...] = ()
    """Names of ConfigMaps that claim to be records and were not written, or not left, as the operator writes them."""

    def disown(self, name: str) -> Records:
        """Return the records without one in which the operator can't write any more: a user has changed it so that the
        API server refuses that, such as by making it immutable or filling it up.
        """
        own = tuple(record for record in self.own if record.name != name)
        return Records(own, tuple(sorted({*self.forged, name})))


def build_event(match: Match, now: datetime) -> RecordedEvent:
    """Return what is recorded of an event that a rule fits."""
    event = match.event
    if isinstance(event, MergeRequestEvent):
        return RecordedEvent(
            kind="comment" if event.command else "merge_request",
            project=match.project,
            ref=event.ref,
            commit=match.commit,
            rule=match.rule,
            actor=event.actor,
            received=now,
            command=event.command,
            actor_id=event.actor_id,
            comment=event.comment_id if event.command else 0,
            again=f"comment-{event.comment_id}" if event.command else "",
        )
    return RecordedEvent(
        kind=event.kind,
        project=match.project,
        ref=event.ref,
        commit=match.commit,
        before=event.before,
        rule=match.rule,
        actor=event.actor,
        received=now,
    )


def repeat_event(event: RecordedEvent, again: str, now: datetime) -> RecordedEvent:
    """Return an event that is handled again on request. The job that asked the first time waits for that alone."""
    alone = event.job.model_copy(update={"waits": False}) if event.job is not None else None
    return event.model_copy(update={"again": again, "received": now, "job": alone})


def name_record(trigger: BuildTrigger, event: RecordedEvent) -> str:
    """Return the name of the ConfigMap of an event."""
    where = (event.project.lower(),) if event.project else ()
    return event_record_name(trigger.name, trigger.uid, *where, event.ref, event.commit, event.rule, event.again)


def build_record(trigger: BuildTrigger, event: RecordedEvent, seal: Seal) -> Object:
    """Return the ConfigMap of an event."""
    name = name_record(trigger, event)
    text = write_json(event.to_api())
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, TRIGGER_LABEL: build_label_value(trigger.name)},
            "annotations": {SEAL_ANNOTATION: seal.sign(EVENT_KEY, trigger.uid, name, text)},
            "ownerReferences": [trigger.owner_reference()],
        },
        "data": {EVENT_KEY: text},
    }


def build_outcome_patch(trigger: BuildTrigger, record: Record, outcome: Outcome, seal: Seal) -> Object:
    """Return the merge patch that writes an outcome into a record."""
    text = write_json(outcome.to_api())
    signed = seal.sign(OUTCOME_KEY, trigger.uid, record.name, text)
    return {"metadata": {"annotations": {OUTCOME_SEAL_ANNOTATION: signed}}, "data": {OUTCOME_KEY: text}}


def build_unwanted_patch(trigger: BuildTrigger, name: str, seal: Seal) -> Object:
    """Return the merge patch that says in a record that its job does not want the build any more."""
    signed = seal.sign(UNWANTED_KEY, trigger.uid, name, UNWANTED_KEY)
    return {"metadata": {"annotations": {UNWANTED_ANNOTATION: signed}}}


def build_report_patch(trigger: BuildTrigger, name: str, state: ReportState, seal: Seal) -> Object:
    """Return the merge patch that writes into a record what GitLab was told."""
    text = write_json(state.to_api())
    signed = seal.sign(REPORT_KEY, trigger.uid, name, text)
    return {"metadata": {"annotations": {REPORT_SEAL_ANNOTATION: signed}}, "data": {REPORT_KEY: text}}


def parse_records(trigger: BuildTrigger, raw: list[Object], seal: Seal) -> Records:
    """Return the records among ConfigMaps that may contain anything."""
    own, forged = [], []
    for one in raw:
        record = _parse_record(trigger, one, seal)
        if record is not None:
            own.append(record)
        elif not _belongs_to_another(trigger, one):
            forged.append(str(one["metadata"]["name"]))
    return Records(tuple(sorted(own, key=lambda record: record.order)), tuple(sorted(forged)))


def put_record(trigger: BuildTrigger, records: Records, raw: Object, seal: Seal) -> Records:
    """Return the records with one as it has just been written, so that the others need not be read again."""
    found, name = parse_records(trigger, [raw], seal), str(raw["metadata"]["name"])
    own = [*(record for record in records.own if record.name != name), *found.own]
    forged = {one for one in records.forged if one != name} | set(found.forged)
    return Records(tuple(sorted(own, key=lambda record: record.order)), tuple(sorted(forged)))


def _belongs_to_another(trigger: BuildTrigger, raw: Object) -> bool:
    """Return whether a ConfigMap is one of an earlier trigger of the same name, which is being collected."""
    owners = raw["metadata"].get("ownerReferences")
    found = [owner.get("uid") for owner in owners if isinstance(owner, Mapping)] if isinstance(owners, list) else []
    return bool(found) and trigger.uid not in found


def _parse_record(trigger: BuildTrigger, raw: Object, seal: Seal) -> Record | None:
    """Return a record; None for what was not written, or not left, as the operator writes it."""
    name, event = str(raw["metadata"]["name"]), None
    text = _find_sealed(trigger, raw, EVENT_KEY, SEAL_ANNOTATION, seal)
    if text is not None:
        event = _parse(RecordedEvent, text)
    if event is None:
        return None
    parts: dict[str, Any] = {}
    for key, annotation, model in _PARTS:
        if key in _get_data(raw):
            text = _find_sealed(trigger, raw, key, annotation, seal)
            parts[key] = _parse(model, text) if text is not None else None
    if None in parts.values():
        return None
    return Record(name, event, unwanted=_is_unwanted(trigger, raw, seal), **parts)


def _is_unwanted(trigger: BuildTrigger, raw: Object, seal: Seal) -> bool:
    annotations = raw["metadata"].get("annotations")
    signed = annotations.get(UNWANTED_ANNOTATION) if isinstance(annotations, Mapping) else None
    return isinstance(signed, str) and seal.verify(
        signed, UNWANTED_KEY, trigger.uid, str(raw["metadata"]["name"]), UNWANTED_KEY
    )


def _find_sealed(trigger: BuildTrigger, raw: Object, key: str, annotation: str, seal: Seal) -> str | None:
    annotations = raw["metadata"].get("annotations")
    signed = annotations.get(annotation) if isinstance(annotations, Mapping) else None
    text = _get_data(raw).get(key)
    if not isinstance(text, str) or not isinstance(signed, str):
        return None
    return text if seal.verify(signed, key, trigger.uid, str(raw["metadata"]["name"]), text) else None


def _get_data(raw: Object) -> Mapping[str, Any]:
    data = raw.get("data")
    return data if isinstance(data, Mapping) else {}


def _parse(model: type[Any], text: str) -> Any:
    try:
        return model.model_validate(decode_json(text, most_bytes=MOST_BYTES))
    except (Unreadable, ValidationError):
        return None

"""The status of a trigger: events, builds, conditions; and the Events for its changes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.api.buildtrigger.status import (
    FINAL,
    SHOWN_BUILDS,
    SHOWN_EVENTS,
    BuildStatus,
    BuildTriggerStatus,
    EventState,
    EventStatus,
)
from bessemer.api.wellknown import AGAIN_ANNOTATION
from bessemer.engine.conditions import Verdict, compute_conditions
from bessemer.engine.event_facts import EventFact
from bessemer.foreign import make_line
from bessemer.kinds.buildtrigger.facts import BuildState, Facts
from bessemer.kinds.buildtrigger.lost import build_webhook_path, judge_webhook
from bessemer.kinds.buildtrigger.missed import compute_refs
from bessemer.kinds.buildtrigger.queue import list_queued, list_waiting
from bessemer.kinds.buildtrigger.records import Record
from bessemer.kinds.buildtrigger.report.verdict import compute_reporting
from bessemer.kinds.buildtrigger.rules import get_scope

WARN_DAYS = 7
"""How long before the expiry of the access token the condition TokenValid says so."""
_BAD = frozenset({EventState.REFUSED, EventState.FAILED})
SHORT = 12
"""Digits of a commit that are shown in columns."""


def compute_status(facts: Facts, now: datetime) -> BuildTriggerStatus:
    """Return the whole status."""
    trigger, queued = facts.trigger, [record.name for record in list_queued(facts)]
    latest = facts.records.own[: -SHOWN_EVENTS - 1 : -1]
    events = [_describe(facts, record, queued) for record in latest]
    outcomes = (record.outcome for record in reversed(facts.records.own) if record.outcome is not None)
    finished = next((outcome for outcome in outcomes if outcome.state in FINAL), None)
    builds = sorted(facts.builds, key=lambda build: build.name)
    return BuildTriggerStatus(
        observed_generation=trigger.generation,
        webhook_path=build_webhook_path(trigger),
        last_event=_summarize(events[0]) if events else "",
        last_result=f"{finished.state}: {finished.reason}"[:128] if finished else "",
        active=sum(build.state is BuildState.BUILDING for build in builds),
        queued=len(list_waiting(facts)),
        builds=[
            BuildStatus(name=build.name, commit=build.commit, ref=build.ref[:255], state=build.state)
            for build in builds[:SHOWN_BUILDS]
        ],
        events=events,
        refs=compute_refs(facts),
        handled_again=_find_handled(facts),
        conditions=compute_conditions(
            _compute_verdicts(facts, now), trigger.status.conditions, trigger.generation, now.replace(microsecond=0)
        ),
    )


def _find_handled(facts: Facts) -> str:
    """Return the last value of the annotation that asks for a repetition, and that was acted upon."""
    wanted = get_again(facts.trigger)
    handled = not facts.records.own or any(record.event.again == wanted for record in facts.records.own)
    return wanted if wanted and handled else facts.trigger.status.handled_again


def get_again(trigger: BuildTrigger) -> str:
    """Return the value of the annotation that asks to handle the latest event again; empty if there is none."""
    return make_line(trigger.annotations.get(AGAIN_ANNOTATION, ""), 253)


def _describe(facts: Facts, record: Record, queued: list[str]) -> EventStatus:
    event, outcome = record.event, record.outcome
    position = queued.index(record.name) + 1 if record.name in queued else None
    state = EventState.QUEUED if position is not None else EventState.WAITING
    reason, message = ("Queued", "waits for an earlier build") if position is not None else _explain_wait(facts)
    if outcome is not None:
        state, reason, message = outcome.state, outcome.reason, outcome.message
    return EventStatus(
        name=record.name,
        received=event.received.replace(microsecond=0),
        kind=event.kind,
        project=event.project,
        ref=event.ref[:255],
        commit=event.commit,
        rule=(outcome.rule if outcome is not None else "") or event.rule,
        actor=event.actor,
        state=state,
        reason=reason,
        message=message,
        position=position,
        builds=outcome.builds if outcome is not None else [],
    )


def _explain_wait(facts: Facts) -> tuple[str, str]:
    spec, problem = facts.trigger.spec, facts.access or facts.source.problem
    if spec is not None and spec.suspend:
        return "Suspended", "spec.suspend is true"
    return (problem.reason, problem.message[:2048]) if problem is not None else ("Received", "")


def _summarize(event: EventStatus) -> str:
    ref = event.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    where = make_line(f"{event.project} {ref}".strip(), 400)
    return f"{event.kind} {where} {event.commit[:SHORT]}"


def _compute_verdicts(facts: Facts, now: datetime) -> list[Verdict]:
    return [
        _compute_ready(facts),
        judge_webhook(facts),
        _compute_token(facts, now),
        _compute_source(facts),
        _compute_records(facts),
        compute_reporting(facts),
    ]


def _compute_ready(facts: Facts) -> Verdict:
    trigger, problem = facts.trigger, facts.access or facts.source.problem
    if trigger.deleted is not None:
        return Verdict("Ready", "False", "Deleting", "the trigger is being deleted")
    if trigger.spec is None:
        return Verdict("Ready", "False", "InvalidSpec", trigger.spec_error)
    if problem is not None:
        return Verdict("Ready", "False", problem.reason, problem.message)
    if trigger.spec.suspend:
        return Verdict("Ready", "False", "Suspended", "events are recorded, and not acted upon: spec.suspend is true")
    if not facts.source.asked:
        return Verdict("Ready", "Unknown", "NotAsked", "GitLab has not been asked yet")
    return Verdict("Ready", "True", "Listening", f"events of {get_scope(trigger.spec)} lead to builds")


def _compute_token(facts: Facts, now: datetime) -> Verdict:
    source = facts.source
    if facts.access is not None:
        return Verdict("TokenValid", "Unknown", facts.access.reason, facts.access.message)
    if source.problem is not None and source.problem.reason == "AccessTokenRefused":
        return Verdict("TokenValid", "False", source.problem.reason, source.problem.message)
    if source.expiry_read is None:
        return Verdict("TokenValid", "Unknown", "NotAsked", "GitLab has not said yet when the token ends")
    if source.expires_at is None:
        return Verdict("TokenValid", "True", "Valid", "GitLab does not say that it ends")
    text = f"it ends at {source.expires_at:%Y-%m-%d}"
    if source.expires_at - now <= timedelta(days=WARN_DAYS):
        return Verdict("TokenValid", "False", "ExpiresSoon", f"{text}: replace it")
    return Verdict("TokenValid", "True", "Valid", text)


def _compute_source(facts: Facts) -> Verdict:
    problem = facts.access or facts.source.problem
    if problem is not None:
        return Verdict("SourceReachable", "False", problem.reason, problem.message)
    if not facts.source.asked:
        return Verdict("SourceReachable", "Unknown", "NotAsked", "GitLab has not been asked yet")
    if facts.source.refs_problem is not None:
        return Verdict("SourceReachable", "False", facts.source.refs_problem.reason, facts.source.refs_problem.message)
    return Verdict("SourceReachable", "True", "Reachable")


def _compute_records(facts: Facts) -> Verdict:
    forged = facts.records.forged
    if not forged:
        return Verdict("RecordsIntact", "True", "Intact")
    names = ", ".join(forged[:4])
    text = (
        f"{len(forged)} ConfigMaps with the trigger's label, or a record's name, are not as the operator writes them, "
        "and don't count: "
        f"{names}"
    )
    return Verdict("RecordsIntact", "False", "RecordForged", text)


def compute_events(before: BuildTriggerStatus, after: BuildTriggerStatus) -> Iterator[EventFact]:
    """Yield Events for the changes between two statuses."""
    known = {event.name: event.state for event in before.events}
    for event in reversed(after.events):
        if event.state != known.get(event.name, EventState.WAITING):
            kind = "Warning" if event.state in _BAD else "Normal"
            text = f"{_summarize(event)}: {event.message or event.state}"
            yield EventFact("Warning" if kind == "Warning" else "Normal", event.reason, text[:1024])
    for type_ in ("Ready", "TokenValid", "WebhookHealthy", "RecordsIntact", "Reporting"):
        new, old = after.condition(type_), before.condition(type_)
        if (
            new is not None
            and new.status == "False"
            and (old is None or (old.status, old.reason) != ("False", new.reason))
        ):
            yield EventFact("Warning", new.reason, new.message[:1024])

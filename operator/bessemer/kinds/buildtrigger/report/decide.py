"""Decides what GitLab is told next. Pure.

What is reported follows from the events and their builds in each pass, so nothing is lost while GitLab is away.
Of several events for one commit of one ref, the latest one speaks. What GitLab refuses is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from bessemer.api.buildtrigger.report import NoteReports, StatusReports
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.api.buildtrigger.status import FINAL, EventState
from bessemer.gitlab.reports import OPEN, NewStatus, State
from bessemer.kinds.buildtrigger.facts import Facts
from bessemer.kinds.buildtrigger.plan import Move
from bessemer.kinds.buildtrigger.records import Record
from bessemer.kinds.buildtrigger.report.deployments import decide_deployments
from bessemer.kinds.buildtrigger.report.labels import choose_label, get_place
from bessemer.kinds.buildtrigger.report.note import build_marker, render_note
from bessemer.kinds.buildtrigger.report.statuses import can_follow, compute_statuses, is_told, list_names
from bessemer.kinds.buildtrigger.report.targets import REASON, build_target
from bessemer.kinds.buildtrigger.reported import (
    FindMergeRequests,
    FindNote,
    Known,
    KnownNote,
    ReadStatuses,
    RecordReport,
    ReportState,
    ResolveNote,
    SendStatus,
    WriteNote,
)

NOTE_SECONDS = 30.0
"""Minimum time between two edits of a note while a build goes on."""
FIRST_SECONDS = 5.0
"""How long after a push or an event of a merge request GitLab is told the first word: it sends the webhook and creates
the pipeline side by side, and a status that comes before the pipeline makes another one, for which nothing waits."""
_WITH_PIPELINE = frozenset({"push", "tag", "merge_request"})
"""Kinds of events for which GitLab creates a pipeline; those of others are there already."""
END_SECONDS = 60.0
"""How long the deletion of a trigger waits for GitLab."""
_GOOD = frozenset({EventState.SUCCEEDED, EventState.PLANNED})


def reports_anything(spec: BuildTriggerSpec) -> bool:
    """Return whether a trigger tells GitLab anything."""
    report = spec.report
    wanted = (report.statuses is StatusReports.PHASES, report.merge_requests is not NoteReports.OFF)
    return any(wanted) or report.environment is not None


def decide_report(facts: Facts, now: datetime) -> Move | None:
    """Return what GitLab is told next, or until when that must wait; None if all is told."""
    spec = facts.trigger.spec
    if spec is None or facts.access is not None or not reports_anything(spec):
        return None
    retry_at = facts.reporting.retry_at
    if retry_at is not None and retry_at > now:
        return Move("WaitForGitLab", facts.reporting.message, wake_after=(retry_at - now).total_seconds())
    waits = []
    for record in _list_unfinished(facts):
        move = _await_pipeline(record, now) or _decide_record(facts, spec, record, now)
        if move is not None and move.step is not None:
            return move
        waits += [move] if move is not None else []
    return min(waits, key=lambda move: move.wake_after or 0, default=None)


def decide_farewell(facts: Facts, now: datetime) -> Move | None:
    """Return how open statuses of a deleted trigger are closed; None if all are, or GitLab could not be told in
    time.
    """
    deleted = facts.trigger.deleted
    left = END_SECONDS - (now - deleted).total_seconds() if deleted is not None else 0
    move = decide_report(facts, now) if left > 0 else None
    if move is None or move.step is not None:
        return move
    return replace(move, wake_after=left if move.wake_after is None else min(move.wake_after, left))


def _list_unfinished(facts: Facts) -> Iterator[Record]:
    """Iterate over the events of which there may be something to tell, the earliest first."""
    for record in facts.records.own:
        if record.report is None and (not is_told(facts, record) or facts.trigger.deleted is not None):
            continue
        if record.report is None or not record.report.done:
            yield record


def _await_pipeline(record: Record, now: datetime) -> Move | None:
    """Return the pause before GitLab is told anything of an event; None if it is over."""
    event, left = record.event, FIRST_SECONDS - (now - record.event.received).total_seconds()
    if record.report is not None or event.again or event.kind not in _WITH_PIPELINE or not 0 < left <= FIRST_SECONDS:
        return None
    return Move(REASON, f"{event.ref} {event.commit[:12]}: GitLab creates its pipeline first", wake_after=left)


def _decide_record(facts: Facts, spec: BuildTriggerSpec, record: Record, now: datetime) -> Move | None:
    state, about = record.report, f"{record.event.ref} {record.event.commit[:12]}"
    if _is_taken_over(facts, record):
        done = (state or ReportState()).model_copy(update={"done": True})
        return Move(REASON, f"{about}: a later event speaks for it", RecordReport(record.name, done))
    known, ended = facts.reports.get(record.name, Known()), _has_ended(facts, record)
    if known.merge_requests is None:
        return _find_requests(spec, record, known, last=ended)
    if state is None:
        first = _inherit(facts, record) or ReportState(label=choose_label(facts, spec, record))
        return Move(REASON, f"{about}: GitLab will be told of it", RecordReport(record.name, first))
    pipeline = known.target.pipeline if known.target is not None else None
    if pipeline is not None and known.target is not None and known.target.pipeline != state.pipeline:
        kept = ReportState(ref=known.target.ref, pipeline=pipeline, label=state.label)
        return Move(REASON, f"{about}: its statuses are in pipeline {pipeline}", RecordReport(record.name, kept))
    move = (
        _decide_statuses(facts, spec, record, known)
        or decide_deployments(facts, record, known)
        or (_find_requests(spec, record, known, last=True) if ended and _are_sought(spec, known) else None)
        or _decide_notes(facts, spec, record, known, now)
    )
    if move is not None or not ended or known.refusals:
        return move
    return Move(REASON, f"{about}: all is told", RecordReport(record.name, state.model_copy(update={"done": True})))


def _are_sought(spec: BuildTriggerSpec, known: Known) -> bool:
    """Return whether it is asked at the end if there are merge requests now that were not there at the beginning."""
    return not known.asked_last and spec.report.merge_requests is not NoteReports.OFF


def _find_requests(spec: BuildTriggerSpec, record: Record, known: Known, *, last: bool) -> Move:
    """Return the question after the merge requests of an event."""
    step = FindMergeRequests(record.name, build_target(spec, record, known), last=last)
    return Move(REASON, f"{record.event.ref} {record.event.commit[:12]}: which merge requests it belongs to", step)


def _is_taken_over(facts: Facts, record: Record) -> bool:
    """Return whether a later event for the same commit of the same ref speaks."""
    same = [other for other in facts.records.own if get_place(other) == get_place(record)]
    return any(other.order > record.order and (is_told(facts, other) or other.report is not None) for other in same)


def _inherit(facts: Facts, record: Record) -> ReportState | None:
    """Return the first state of an event that goes on with the statuses of an earlier one for the same commit."""
    earlier = [other.report for other in facts.records.own if get_place(other) == get_place(record)]
    found = next((state for state in reversed(earlier) if state is not None and state.pipeline is not None), None)
    return ReportState(ref=found.ref, pipeline=found.pipeline, label=found.label) if found is not None else None


def _has_ended(facts: Facts, record: Record) -> bool:
    ended = record.outcome is not None and record.outcome.state in FINAL
    return ended or facts.trigger.deleted is not None


def _decide_statuses(facts: Facts, spec: BuildTriggerSpec, record: Record, known: Known) -> Move | None:
    if spec.report.statuses is StatusReports.OFF or "statuses" in known.refusals:
        return None
    target = build_target(spec, record, known)
    names = list_names(facts.trigger.name, record)
    read = Move(REASON, f"statuses of {record.event.commit[:12]}", ReadStatuses(record.name, target, names))
    if known.statuses is None:
        return read
    for status in _list_wanted(facts, record, known):
        state = can_follow(known.statuses.get(status.name), status.state)
        if state is not None and status.name not in known.refusals:
            step = SendStatus(record.name, target, replace(status, state=state))
            return Move(REASON, f"{status.name}: {state}", step)
    if not _has_ended(facts, record):
        return None
    for stray in known.strays:
        if stray.name not in known.refusals:
            closed = NewStatus(stray.name, State.CANCELED, "left open in this pipeline")
            step = SendStatus(record.name, replace(target, pipeline=stray.pipeline), closed)
            return Move(REASON, f"{stray.name} was left open in pipeline {stray.pipeline}", step)
    return None if known.read else read


def _list_wanted(facts: Facts, record: Record, known: Known) -> list[NewStatus]:
    """Return the statuses that there should be, with those that are open in GitLab and should not be."""
    wanted = compute_statuses(facts, record)
    if not _has_ended(facts, record):
        return wanted
    deleted, statuses = facts.trigger.deleted is not None, known.statuses or {}
    if deleted:
        wanted = [status for status in wanted if status.state not in OPEN]
    told = {status.name for status in wanted}
    text = "the trigger was deleted" if deleted else "ended before it was finished"
    left = sorted((name for name, state in statuses.items() if state in OPEN and name not in told), reverse=True)
    # What was never begun needs no end.
    begun = (status for status in wanted if status.state is not State.CANCELED or status.name in statuses)
    return [*(NewStatus(name, State.CANCELED, text) for name in left), *begun]


def _decide_notes(facts: Facts, spec: BuildTriggerSpec, record: Record, known: Known, now: datetime) -> Move | None:
    if spec.report.merge_requests is NoteReports.OFF or "notes" in known.refusals:
        return None
    body = render_note(facts, record)
    for iid in known.merge_requests or ():
        if body is None or _is_later_written(facts, record, iid):
            continue
        note = known.notes.get(iid)
        if note is None:
            return Move(
                REASON, f"!{iid}: whether there is a note", FindNote(record.name, iid, build_marker(facts.trigger))
            )
        move = _decide_note(facts, record, known, WriteNote(record.name, iid, body, note, _discusses(spec)), now)
        if move is not None:
            return move
    return None


def _is_later_written(facts: Facts, record: Record, iid: int) -> bool:
    """Return whether the note on a merge request is that of a later event."""
    later = [other for other in facts.records.own if other.order > record.order]
    return any(iid in (facts.reports.get(other.name, Known()).merge_requests or ()) for other in later)


def _discusses(spec: BuildTriggerSpec) -> bool:
    return spec.report.merge_requests is NoteReports.DISCUSSION


def _decide_note(facts: Facts, record: Record, known: Known, write: WriteNote, now: datetime) -> Move | None:
    note = write.known
    if note.id is None or note.body.strip() != write.body.strip():
        wait = _compute_pause(note, now) if not _has_ended(facts, record) else 0
        if wait > 0:
            return Move(REASON, f"!{write.iid}: the note is edited later", wake_after=wait)
        return Move(REASON, f"!{write.iid}: the note", write)
    good = record.outcome is not None and record.outcome.state in _GOOD
    if not write.discussion or note.discussion is None or note.resolved == good or "discussions" in known.refusals:
        return None
    text = f"!{write.iid}: {'resolved' if good else 'open'}"
    return Move(REASON, text, ResolveNote(record.name, write.iid, note, good))


def _compute_pause(note: KnownNote, now: datetime) -> float:
    if note.written is None:
        return 0
    return NOTE_SECONDS - (now - note.written).total_seconds()

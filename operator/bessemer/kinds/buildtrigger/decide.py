"""Decides the next step of a trigger. Pure.

Events are handled in the order in which they were received; what one leads to is decided by :mod:`events`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from bessemer.api.buildtrigger.spec import BuildTriggerSpec, OnDelete
from bessemer.api.buildtrigger.status import FINAL, EventState
from bessemer.kinds.buildtrigger.events import MOST_SETTLED, decide_events
from bessemer.kinds.buildtrigger.facts import BuildFact, BuildState, Facts, Resolution
from bessemer.kinds.buildtrigger.lost import decide_webhook
from bessemer.kinds.buildtrigger.missed import find_missed
from bessemer.kinds.buildtrigger.plan import (
    CheckToken,
    DeleteBuild,
    ForgetRecords,
    Move,
    Plan,
    ReadRefs,
    RecordAgain,
    RecordMissed,
    ResumeBuild,
    SettleEvents,
    StopBuild,
)
from bessemer.kinds.buildtrigger.queue import is_applied, list_waiting
from bessemer.kinds.buildtrigger.records import Outcome, Record, name_record, repeat_event
from bessemer.kinds.buildtrigger.report.decide import decide_farewell, decide_report
from bessemer.kinds.buildtrigger.status import compute_events, compute_status, get_again
from bessemer.kinds.buildtrigger.waitingjobs import ask_job, find_disinterest, list_questions, wake_for

MOST_STEPS = 8
"""Steps of one pass; the next pass follows at once, so that the status is written now and then."""
TOKEN_SECONDS = 3600.0
"""Interval at which the expiry of the access token is read."""
SECRET_SECONDS = 5.0
"""Interval at which a Secret that can't be used is read again."""
BUSY = Move("Busy", "the next pass follows at once", wake_after=0)
IDLE = Move("Idle", "there is nothing to do")


def decide(facts: Facts, now: datetime) -> Plan:
    """Return the next step, and the status as it is before that step."""
    move = _decide_move(facts, now)
    status = compute_status(facts, now)
    return Plan(status, move, tuple(compute_events(facts.trigger.status, status)) if move.step is None else ())


def _decide_move(facts: Facts, now: datetime) -> Move:
    spec = facts.trigger.spec
    if facts.trigger.deleted is not None:
        return _decide_end(facts, now)
    if spec is None:
        return IDLE
    if facts.steps >= MOST_STEPS:
        return BUSY
    for moves in (
        _settle_builds(facts, now),
        _stop_builds(facts),
        _list_housekeeping(facts, spec, now),
        _ask_again(facts),
    ):
        for move in moves:
            return move
    report = decide_report(facts, now)
    if spec.suspend:
        return report or Move("Suspended", "events are recorded only")
    silent = list_questions(facts, now)
    found = _decide_source(facts, now) or ask_job(silent)
    steps = (_decide_refs, decide_events)
    # To read all projects of a group takes a while, in which events don't wait.
    for decide_next in steps if spec.gitlab.group is None else reversed(steps):
        found = found or decide_next(facts, spec, now)
    return wake_for(found or _wait(facts, spec, report, now), silent)


def _decide_end(facts: Facts, now: datetime) -> Move:
    spec = facts.trigger.spec
    if spec is not None and spec.on_delete is OnDelete.DELETE:
        for build in facts.builds:
            if not build.deleting:
                return Move("Deleting", f"{build.name} goes with the trigger", DeleteBuild(build.name, build.uid))
    if facts.steps >= MOST_STEPS:
        return BUSY
    farewell = decide_farewell(facts, now)
    return farewell or Move("Deleted", "the trigger's builds are deleted or left as they are", finalize=True)


def _settle_builds(facts: Facts, now: datetime) -> Iterator[Move]:
    """Record the results of events whose builds have ended, and withdraw orders to abort that were followed."""
    for build in facts.builds:
        record = next((record for record in facts.records.own if record.name == build.event), None)
        if build.aborting and (record is None or is_applied(facts, record, build.name)) and not _replaces(facts, build):
            yield Move("Resuming", f"{build.name} is now that of {build.event}", ResumeBuild(build.name, build.event))
    for build in facts.builds:
        if build.unwanted and build.unwanted != build.event:
            yield Move("Resuming", f"{build.name} is now that of {build.event}", ResumeBuild(build.name, build.event))
    ended = [(record, outcome) for record in facts.records.own if (outcome := _find_end(facts, record, now))]
    if ended:
        message = ", ".join(f"{record.name}: {outcome.state}" for record, outcome in ended[:4])
        yield Move("BuildsEnded", message, SettleEvents(tuple(ended[:MOST_SETTLED])))


def _stop_builds(facts: Facts) -> Iterator[Move]:
    """Abort builds that were begun for a job which is over, or has taken back that it wants them."""
    for build in facts.builds:
        record = next((record for record in facts.records.own if record.name == build.event), None)
        if record is None or build.state is not BuildState.BUILDING or build.deleting or build.unwanted:
            continue
        reason = find_disinterest(facts, record)
        if reason is not None:
            yield Move(reason[0], f"{build.name}: {reason[1]}", StopBuild(build.name, record))


def _replaces(facts: Facts, build: BuildFact) -> bool:
    """Return whether a waiting event still has to replace a build."""
    return any(
        isinstance(answer, Resolution)
        and record.name != build.event
        and build.name in (c.name for c in answer.clusters)
        for record in list_waiting(facts)
        if (answer := facts.answers.get(record.name)) is not None
    )


def _find_end(facts: Facts, record: Record, now: datetime) -> Outcome | None:
    """Return the result of an event whose builds were applied; None if it has one, or has none yet."""
    before = record.outcome
    if before is None or before.state is not EventState.BUILDING:
        return None
    builds = {build.name: build for build in facts.builds}
    states = []
    for name in before.builds:
        build = builds.get(name)
        if build is None or build.event != record.name:
            states.append((EventState.SUPERSEDED, "Replaced", f"{name} is that of a later event, or was deleted"))
        elif build.state is BuildState.BUILDING:
            return None
        elif build.aborting:
            states.append((EventState.SUPERSEDED, "Replaced", f"{name} was aborted for a later event"))
        elif build.state is BuildState.READY:
            states.append((EventState.SUCCEEDED, build.reason, f"{name}: {build.message}"))
        else:
            states.append((EventState.FAILED, build.reason, f"{name}: {build.message}"))
    order = (EventState.FAILED, EventState.SUPERSEDED, EventState.SUCCEEDED)
    state, reason, message = min(states, key=lambda found: order.index(found[0]))
    return before.model_copy(update={"state": state, "reason": reason or state, "message": message[:2048], "at": now})


def _list_housekeeping(facts: Facts, spec: BuildTriggerSpec, now: datetime) -> Iterator[Move]:
    """Forget finished events that are too many or too old; the latest event is always kept."""
    finished = [
        (record, record.outcome.at)
        for record in facts.records.own[:-1]
        if record.outcome is not None and record.outcome.state in FINAL
    ]
    surplus = max(0, len(finished) - spec.history.limit)
    oldest = now - timedelta(seconds=spec.history.ttl_seconds)
    names = [record.name for number, (record, at) in enumerate(finished) if number < surplus or at < oldest]
    if names:
        yield Move(
            "HistoryLimit", f"{len(names)} finished events are forgotten", ForgetRecords(tuple(names[:MOST_SETTLED]))
        )


def _ask_again(facts: Facts) -> Iterator[Move]:
    wanted = get_again(facts.trigger)
    known = {record.event.again for record in facts.records.own} | {facts.trigger.status.handled_again}
    if wanted and wanted not in known and facts.records.own:
        latest = facts.records.own[-1]
        again = repeat_event(latest.event, wanted, latest.event.received)
        if name_record(facts.trigger, again) in facts.records.forged:
            return
        yield Move("Again", f"{latest.event.ref} is handled again, by annotation", RecordAgain(latest, wanted))


def _decide_source(facts: Facts, now: datetime) -> Move | None:
    """Return the question after the access token, if it is due, or the wait for GitLab."""
    source = facts.source
    if facts.access is not None:
        return Move(facts.access.reason, facts.access.message, wake_after=SECRET_SECONDS)
    if source.retry_at is not None and source.retry_at > now:
        problem = source.problem.message if source.problem else ""
        return Move("WaitForGitLab", problem, wake_after=(source.retry_at - now).total_seconds())
    if source.expiry_read is None or now - source.expiry_read >= timedelta(seconds=TOKEN_SECONDS):
        return Move("TokenUnchecked", "when the access token ends is not known, or was read long ago", CheckToken())
    return None


def _decide_refs(facts: Facts, spec: BuildTriggerSpec, now: datetime) -> Move | None:
    """Return the next step to find events that no webhook has told."""
    source, seconds = facts.source, spec.gitlab.poll_seconds
    if source.refs_read is None or now - source.refs_read >= timedelta(seconds=seconds):
        return Move("RefsUnchecked", f"branches and tags are compared every {seconds} s", ReadRefs())
    for event in find_missed(facts, now):
        return Move("EventMissed", f"no webhook has told of {event.ref} at {event.commit}", RecordMissed(event))
    return None


def _wait(facts: Facts, spec: BuildTriggerSpec, report: Move | None, now: datetime) -> Move:
    """Return what is left when no event needs anything: GitLab is told what became of them."""
    hook = decide_webhook(facts, spec, now)
    if hook.step is not None:
        return hook
    if report is not None and report.step is not None:
        return report
    read = ((facts.source.expiry_read, TOKEN_SECONDS), (facts.source.refs_read, spec.gitlab.poll_seconds))
    dues = [seconds - (now - at).total_seconds() for at, seconds in read if at is not None]
    dues += [move.wake_after for move in (hook, report) if move is not None and move.wake_after is not None]
    return Move(IDLE.reason, IDLE.message, wake_after=max(0.0, min(dues, default=TOKEN_SECONDS)))

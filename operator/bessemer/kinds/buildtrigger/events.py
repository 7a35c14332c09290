"""Decides what an event leads to: nothing, with the reason, or ClusterBuilds, one after the other. Pure.

One is superseded as soon as its branch or tag points elsewhere: so of events that arrive twice or in another order,
only the one that is true now leads to a build.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice

from bessemer.api.buildtrigger.spec import BuildTriggerSpec, Concurrency, Prune
from bessemer.api.buildtrigger.status import SHOWN_BUILDS, EventState
from bessemer.gitlab.protocol import Head
from bessemer.kinds.buildtrigger.builds import is_of
from bessemer.kinds.buildtrigger.facts import Answer, BuildFact, BuildState, Facts, HeadFact, Resolution
from bessemer.kinds.buildtrigger.foresee import foresee
from bessemer.kinds.buildtrigger.manifests import Cluster
from bessemer.kinds.buildtrigger.orders import decide_abort, is_abort, list_wanted
from bessemer.kinds.buildtrigger.plan import (
    AbortBuild,
    ApplyBuild,
    DeleteBuild,
    Move,
    ReadHead,
    ResolveEvent,
    SettleEvents,
)
from bessemer.kinds.buildtrigger.queue import find_blocker, is_applied, list_waiting
from bessemer.kinds.buildtrigger.records import MOST_PLAN_CHARACTERS, Outcome, Record
from bessemer.kinds.buildtrigger.revisits import PASSED_OVER, TURNED_AWAY
from bessemer.kinds.buildtrigger.rules import Ignored, asks_to_skip
from bessemer.kinds.buildtrigger.scope import get_project
from bessemer.kinds.buildtrigger.waitingjobs import find_disinterest

HEAD_SECONDS = 60.0
"""How old an answer may be when a build is begun because of it."""
MOST_SETTLED = 128
"""Events that are settled in one step."""


def decide_events(facts: Facts, spec: BuildTriggerSpec, now: datetime) -> Move | None:
    """Return the next step for the waiting events; None if each waits for a build, or there is none."""
    waiting = list_waiting(facts)
    for record in waiting:
        if _is_outdated(facts, record):
            return _read_head(spec, record)
    judged = ((record, outcome) for record in waiting if (outcome := _judge(facts, record, now)))
    settled = tuple(islice(judged, MOST_SETTLED))
    if settled:
        record, outcome = settled[0]
        return Move(outcome.reason, f"{record.name}: {outcome.message}", SettleEvents(settled))
    for record in waiting:
        move = _decide_event(facts, spec, record, now)
        if move is not None:
            return move
    return None


def _is_outdated(facts: Facts, record: Record) -> bool:
    """Return whether nothing is known of the ref of an event since it was received.

    The ref is read at most once for an event, also where that is of the future because the clock was set back since.
    """
    found = facts.heads.get(record.event.place)
    return found is None or (found.read_at < record.event.received and record.name not in found.events)


def _read_head(spec: BuildTriggerSpec, record: Record) -> Move:
    return Move(
        "HeadUnknown",
        f"where {record.event.ref} points must be known",
        ReadHead(get_project(spec, record.event), record.event.ref),
    )


def _judge(facts: Facts, record: Record, now: datetime) -> Outcome | None:
    """Return the outcome of an event that leads to nothing; None if it may lead to something."""
    read, job = facts.heads[record.event.place], record.event.job
    head = read.head
    unwanted = find_disinterest(facts, record)
    if unwanted is not None:
        return _settle(EventState.SKIPPED, unwanted[0], unwanted[1], now)
    # A job asks for its own commit, but of a ref that exists: whether one that is gone was protected is not known.
    fixed = (job is not None and head is not None) or is_abort(record) or bool(_list_begun(facts, record))
    if not fixed and read.unreadable:
        return _settle(EventState.REFUSED, "CommitTooLarge", f"{record.event.ref}: {read.unreadable}", now)
    if not fixed and (head is None or head.commit != record.event.commit):
        elsewhere = f"{record.event.ref} points to {head.commit} now" if head else f"{record.event.ref} does not exist"
        return _settle(EventState.SUPERSEDED, PASSED_OVER, elsewhere, now)
    if not fixed and head is not None and not record.event.command and asks_to_skip(head.message):
        return _settle(EventState.SKIPPED, "SkipRequested", "the commit's message has [skip ci]", now)
    refused, answer = facts.refusals.get(record.name), facts.answers.get(record.name)
    if refused is not None:
        return _settle(EventState.REFUSED, refused.reason, refused.message, now)
    return _judge_answer(facts, answer, now) if answer is not None else None


def _judge_answer(facts: Facts, answer: Answer, now: datetime) -> Outcome | None:
    """Return the outcome of an event whose files lead to no build; None if there is something to build."""
    if isinstance(answer, Ignored):
        return _settle(EventState.SKIPPED, answer.reason, answer.message, now)
    if answer.refusal is not None:
        outcome = _settle(EventState.REFUSED, answer.refusal.reason, answer.refusal.message, now)
        return outcome.model_copy(update={"rule": answer.rule})
    if answer.planned:
        plan = _write_plan(facts, answer)
        outcome = _settle(EventState.PLANNED, "Planned", plan, now)
        names = [cluster.name for cluster in answer.clusters]
        return outcome.model_copy(update={"rule": answer.rule, "builds": names, "plan": plan[:MOST_PLAN_CHARACTERS]})
    return None


def _write_plan(facts: Facts, answer: Resolution) -> str:
    """Return what a build would do to which machine, one line for each cluster."""
    specs = {build.name: build.spec for build in facts.builds}
    lines = [foresee(cluster.name, specs.get(cluster.name), cluster.spec).describe() for cluster in answer.clusters]
    return "\n".join(lines) or "there is no ClusterBuild in the files at this commit"


def _settle(state: EventState, reason: str, message: str, now: datetime) -> Outcome:
    return Outcome(state=state, reason=reason, message=message[:2048], at=now)


def _decide_event(facts: Facts, spec: BuildTriggerSpec, record: Record, now: datetime) -> Move | None:
    """Return the next step for one event; None if it must wait for a build."""
    read, answer = facts.heads[record.event.place], facts.answers.get(record.name)
    if not isinstance(answer, Resolution):
        return _resolve(facts, record, read.head, now)
    if is_abort(record):
        return decide_abort(facts, record, answer, now)
    for cluster in (wanted := list_wanted(facts, record, answer)):
        if is_applied(facts, record, cluster.name):
            continue
        blocker = find_blocker(facts, record, cluster.name)
        if blocker is not None:
            return _wait_for(spec, record, blocker, now)
        if _is_stale(read, now):
            return _read_head(spec, record)
        why = f"{cluster.path} at {record.event.commit[:12]} of {record.event.ref}"
        return Move("Building", f"{cluster.name}: {why}", ApplyBuild(record, answer.rule, cluster))
    return _prune(facts, spec, record, answer) or _conclude(record, answer, wanted, now)


def _resolve(facts: Facts, record: Record, head: Head | None, now: datetime) -> Move:
    """Return the step that finds out what an event leads to; nothing is begun for a ref that may not be protected."""
    if head is None and is_abort(record):
        head = Head(record.event.commit, protected=False)  # to abort needs no ref
    if head is None:
        return _conclude_begun(facts, record, now)
    return Move("EventReceived", f"{record.event.kind} to {record.event.ref}", ResolveEvent(record, head))


def _is_stale(head: HeadFact, now: datetime) -> bool:
    return now - head.read_at > timedelta(seconds=HEAD_SECONDS)


def _wait_for(spec: BuildTriggerSpec, record: Record, blocker: BuildFact | Record, now: datetime) -> Move | None:
    """Return what happens to an event whose cluster is being built for another one."""
    if spec.concurrency is Concurrency.FORBID:
        message = f"{blocker.name} is not finished, and concurrency is Forbid"
        outcome = _settle(EventState.REFUSED, TURNED_AWAY, message, now)
        return Move(outcome.reason, f"{record.name}: {message}", SettleEvents(((record, outcome),)))
    if spec.concurrency is not Concurrency.REPLACE or isinstance(blocker, Record):
        return None
    if blocker.deleting or blocker.aborting or blocker.state is not BuildState.BUILDING:
        return None
    return Move("Replacing", f"{blocker.name} is aborted for {record.name}", AbortBuild(blocker.name, record))


def _prune(facts: Facts, spec: BuildTriggerSpec, record: Record, answer: Resolution) -> Move | None:
    """Return the deletion of a build whose manifest is no longer there, where that is wanted."""
    if spec.prune is not Prune.DELETE:
        return None
    names = {cluster.name for cluster in answer.clusters}
    for build in facts.builds:
        same = is_of(spec, build, record) and build.rule == answer.rule and record.event.job is None
        if same and build.name not in names and not build.deleting:
            message = f"{build.name} is not in the repository any more"
            return Move("Pruned", message, DeleteBuild(build.name, build.uid))
    return None


def _conclude(record: Record, answer: Resolution, wanted: Sequence[Cluster], now: datetime) -> Move:
    """Return the step that records which builds an event has led to."""
    names = [cluster.name for cluster in wanted]
    if names:
        outcome = _settle(EventState.BUILDING, "Applied", ", ".join(names), now)
    elif answer.clusters:
        text = "no ClusterBuild of this commit has failed"
        outcome = _settle(EventState.SKIPPED, "NothingToRetry", text, now)
    else:
        outcome = _settle(EventState.SKIPPED, "NoManifest", "there is no ClusterBuild in the files at this commit", now)
    outcome = outcome.model_copy(update={"rule": answer.rule, "builds": names})
    return Move(outcome.reason, f"{record.name}: {outcome.message}", SettleEvents(((record, outcome),)))


def _list_begun(facts: Facts, record: Record) -> list[BuildFact]:
    """List the builds that were applied for an event."""
    return [build for build in facts.builds if build.event == record.name]


def _conclude_begun(facts: Facts, record: Record, now: datetime) -> Move:
    """Return the step that ends an event whose ref is gone, and whose files were forgotten: no more is built for it."""
    begun = _list_begun(facts, record)[:SHOWN_BUILDS]
    message = f"{', '.join(build.name for build in begun)}; {record.event.ref} does not exist any more"
    outcome = _settle(EventState.BUILDING, "Applied", message, now).model_copy(
        update={"rule": begun[0].rule, "builds": [build.name for build in begun]}
    )
    return Move(outcome.reason, f"{record.name}: {outcome.message}", SettleEvents(((record, outcome),)))

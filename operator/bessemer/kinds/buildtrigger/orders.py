"""Comments that ask for something about builds that were begun already: to abort them, or to retry them. Pure."""

from __future__ import annotations

from datetime import datetime

from bessemer.api.buildtrigger.rules import Command
from bessemer.api.buildtrigger.status import EventState
from bessemer.kinds.buildtrigger.builds import is_of
from bessemer.kinds.buildtrigger.facts import BuildFact, BuildState, Facts, Resolution
from bessemer.kinds.buildtrigger.manifests import Cluster
from bessemer.kinds.buildtrigger.plan import Move, SettleEvents, StopBuild
from bessemer.kinds.buildtrigger.queue import is_applied, list_waiting
from bessemer.kinds.buildtrigger.records import Outcome, Record


def is_abort(record: Record) -> bool:
    """Return whether an event is a comment that aborts builds."""
    return record.event.command == Command.ABORT


def list_wanted(facts: Facts, record: Record, answer: Resolution) -> tuple[Cluster, ...]:
    """Return the ClusterBuilds that an event applies: all, or for a retry those that have failed at this commit."""
    if record.event.command != Command.RETRY:
        return answer.clusters
    commit = record.event.commit
    failed = {one.name for one in facts.builds if (one.commit, one.state) == (commit, BuildState.FAILED)}
    return tuple(one for one in answer.clusters if one.name in failed or is_applied(facts, record, one.name))


def decide_abort(facts: Facts, record: Record, answer: Resolution, now: datetime) -> Move:
    """Return the next step for a comment that aborts the builds of its merge request, and its waiting events."""
    records = {one.name: one for one in facts.records.own}
    own = [build for build in facts.builds if _is_about(facts, record, build) and build.event in records]
    comment = f"by a comment of {record.event.actor}"
    for build in own:
        if not (build.deleting or build.unwanted or build.aborting):
            return Move("CommentAborts", f"{build.name}: {comment}", StopBuild(build.name, records[build.event]))
    waiting = [one for one in list_waiting(facts) if one.order < record.order and one.event.place == record.event.place]
    names = [build.name for build in own]
    text = f"aborted: {', '.join(names)}" if names else "no build of the merge request is under way"
    done = Outcome(
        state=EventState.SKIPPED,
        reason="CommentAborted" if names or waiting else "NothingToAbort",
        message=f"{text}; {len(waiting)} waiting events dropped" if waiting else text,
        at=now,
        rule=answer.rule,
    )
    dropped = done.model_copy(update={"message": comment, "rule": ""})
    settled = tuple((one, dropped) for one in waiting)
    return Move(done.reason, f"{record.name}: {done.message}", SettleEvents((*settled, (record, done))))


def _is_about(facts: Facts, record: Record, build: BuildFact) -> bool:
    """Return whether a build that is under way is that of the merge request on which a comment was written.

    One of the same commit of another ref is not: anybody may open a merge request for the commit of a protected branch.
    """
    spec = facts.trigger.spec
    return spec is not None and is_of(spec, build, record) and build.state is BuildState.BUILDING

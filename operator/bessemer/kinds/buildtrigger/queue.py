"""Which events wait, and for what. Pure."""

from __future__ import annotations

from bessemer.api.buildtrigger.status import EventState
from bessemer.kinds.buildtrigger.facts import BuildFact, BuildState, Facts, Resolution
from bessemer.kinds.buildtrigger.records import Record


def list_waiting(facts: Facts) -> list[Record]:
    """List the events without an outcome, the earliest first."""
    return [record for record in facts.records.own if record.outcome is None]


def list_queued(facts: Facts) -> list[Record]:
    """List the waiting events that wait for a build of an earlier event, the earliest first."""
    found = []
    for record in list_waiting(facts):
        answer = facts.answers.get(record.name)
        names = [cluster.name for cluster in answer.clusters] if isinstance(answer, Resolution) else []
        if any(not is_applied(facts, record, name) and find_blocker(facts, record, name) for name in names):
            found.append(record)
    return found


def is_awaited(record: Record) -> bool:
    """Return whether a job waits for what becomes of an event."""
    job = record.event.job
    return job is not None and job.waits and (record.outcome is None or record.outcome.state is EventState.BUILDING)


def is_applied(facts: Facts, record: Record, name: str) -> bool:
    """Return whether the ClusterBuild of this name was applied for an event."""
    return any(build.name == name and build.event == record.name for build in facts.builds)


def find_blocker(facts: Facts, record: Record, name: str) -> BuildFact | Record | None:
    """Return what an event must wait for before it may change the ClusterBuild of this name; None: nothing.

    That is the ClusterBuild itself, while it is built for another event or is being deleted, or an earlier event that
    waits for it.
    """
    build = next((build for build in facts.builds if build.name == name), None)
    if build is not None and (build.deleting or build.state is BuildState.BUILDING):
        return build
    for other in list_waiting(facts):
        if other.order >= record.order:
            return None
        answer = facts.answers.get(other.name)
        if isinstance(answer, Resolution) and any(cluster.name == name for cluster in answer.clusters):
            return other
    return None

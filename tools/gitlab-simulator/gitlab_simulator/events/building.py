"""Which events a change makes."""

from __future__ import annotations

from ..state import Changed, GitLabState
from . import deployment, job, merge_request, note, pipeline, push
from .event import Event

WANTED_BY = {
    "push": frozenset({"push_events", "tag_push_events"}),
    "job": frozenset({"job_events"}),
    "pipeline": frozenset({"pipeline_events"}),
    "merge_request": frozenset({"merge_requests_events"}),
    "note": frozenset({"note_events", "confidential_note_events"}),
    "deployment": frozenset({"deployment_events"}),
}
"""What hooks must want, any of these, to be told of a change of a kind; no hook is told of other kinds."""


def build_events(state: GitLabState, change: Changed) -> list[Event]:
    """Return them; a change that no webhook is told of has none."""
    match change.kind:
        case "push":
            return push.build_events(state, change.detail)
        case "job":
            return [job.build_event(state, state.jobs[change.id])]
        case "pipeline":
            return [pipeline.build_event(state, state.pipelines[change.id])]
        case "merge_request":
            return [merge_request.build_event(state, change.detail)]
        case "deployment":
            return [deployment.build_event(state, change.detail)]
        case "note":
            return [note.build_event(state, change.detail)]
        case _:
            return []

"""What a webhook is sent when a user tests it: an event of something that is there.

Source: app/services/concerns/integrations/project_test_data.rb, app/services/test_hooks/project_service.rb
"""

from __future__ import annotations

from ..discussions import NoteChange
from ..git.repository import HEADS, TAGS
from ..merge_requests import MergeRequestChange
from ..model import Project, User
from ..pushes import Push, RefChange
from ..state import Changed, GitLabState
from .building import build_events
from .event import Event

COMMITS = 3
"""That the push of a test has."""


class NothingToTellError(Exception):
    """The project has nothing of that kind; the text is what GitLab says."""


def build_sample(state: GitLabState, project: Project, user: User, wanted_by: str) -> Event:
    """Return an event of a kind, such as ``push_events``. Raises NothingToTellError."""
    change = _find_change(state, project, user, wanted_by)
    (event,) = build_events(state, change)
    return event


def _find_change(state: GitLabState, project: Project, user: User, wanted_by: str) -> Changed:
    match wanted_by:
        case "push_events" | "tag_push_events":
            return Changed("push", project.id, _build_push(project, user, tag=wanted_by == "tag_push_events"))
        case "job_events":
            jobs = [one for one in state.jobs.values() if one.project_id == project.id]
            return Changed("job", _get_last([one.id for one in jobs], "CI jobs"))
        case "pipeline_events":
            pipelines = [one for one in state.pipelines.values() if one.project_id == project.id]
            return Changed("pipeline", _get_last([one.id for one in pipelines], "CI pipelines"))
        case "merge_requests_events" | "note_events":
            iid = _get_last(list(project.merge_requests), "merge requests")
            merge_request = project.merge_requests[iid]
            if wanted_by == "merge_requests_events":
                return Changed("merge_request", iid, MergeRequestChange(merge_request, user.id, "open"))
            comments = [one.id for one in merge_request.notes.values() if not one.system]
            note = merge_request.notes[_get_last(comments, "notes")]
            return Changed("note", note.id, NoteChange(merge_request, note, user.id, "create"))
        case _:
            raise NothingToTellError("Testing not available for this hook")


def _get_last(numbers: list[int], what: str) -> int:
    if not numbers:
        raise NothingToTellError(f"Ensure the project has {what}.")
    return numbers[-1]


def _build_push(project: Project, user: User, *, tag: bool) -> Push:
    head = project.repository.find_commit("HEAD")
    if head is None:
        raise NothingToTellError("Ensure the project has at least one commit.")
    oldest = project.repository.list_commits(head.sha, most=COMMITS)[-1]
    ref = f"{TAGS}v1.0.0" if tag else HEADS + project.default_branch
    return Push(project, user.id, (RefChange(ref, oldest.sha, head.sha),))

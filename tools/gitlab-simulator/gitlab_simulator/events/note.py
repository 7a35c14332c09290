"""Comments: https://docs.gitlab.com/user/project/integrations/webhook_events/#comment-events

Source: lib/gitlab/data_builder/note.rb, app/services/notes/{post_process,update}_service.rb
"""

from __future__ import annotations

from ..discussions import NoteChange
from ..merge_request_views import build_url
from ..state import GitLabState
from .event import Event
from .merge_request import build_attributes
from .parts import build_project, build_repository, build_user, build_utc_time


def build_event(state: GitLabState, change: NoteChange) -> Event:
    """An event of a comment on a merge request, or of a part of a discussion of it."""
    note, merge_request = change.note, change.merge_request
    project = state.projects[merge_request.project_id]
    body = {
        "object_kind": "note",
        "event_type": "confidential_note" if note.internal else "note",
        "user": build_user(state, change.user_id),
        "project_id": project.id,
        "project": build_project(state, project),
        "object_attributes": {
            "id": note.id,
            "note": note.body,
            "description": note.body,
            "noteable_type": "MergeRequest",
            "noteable_id": merge_request.id,
            "author_id": note.author_id,
            "created_at": build_utc_time(note.created_at),
            "updated_at": build_utc_time(note.updated_at),
            "project_id": project.id,
            "attachment": None,
            "line_code": None,
            "commit_id": "",
            "system": False,
            "st_diff": None,
            "type": "DiscussionNote" if note.resolvable else None,
            "discussion_id": note.discussion,
            "internal": note.internal,
            "resolved_at": build_utc_time(note.resolved_at),
            "resolved_by_id": note.resolved_by,
            "action": change.action,
            "url": f"{build_url(state, project, merge_request)}#note_{note.id}",
        },
        "repository": build_repository(state, project),
        "merge_request": build_attributes(state, merge_request),
    }
    if note.internal:
        return Event("confidential_note_events", "Confidential Note Hook", project.id, body)
    return Event("note_events", "Note Hook", project.id, body)

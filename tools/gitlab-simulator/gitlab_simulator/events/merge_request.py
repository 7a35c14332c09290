"""Merge requests: https://docs.gitlab.com/user/project/integrations/webhook_events/#merge-request-events

Source: lib/gitlab/hook_data/merge_request_builder.rb, app/services/merge_requests/base_service.rb
"""

from __future__ import annotations

from typing import Any

from ..clock import build_time
from ..discussions import compute_is_resolved
from ..merge_request_views import build_url
from ..merge_requests import MergeRequestChange, compute_detailed_status, find_head_pipeline
from ..model import MergeRequest
from ..state import GitLabState
from .event import Event
from .parts import build_commit, build_project, build_repository, build_user, build_utc_time

STATES = {"opened": 1, "closed": 2, "merged": 3}


def build_event(state: GitLabState, change: MergeRequestChange) -> Event:
    """An event of the project that the merge request goes to, also where it comes from a fork."""
    merge_request = change.merge_request
    project = state.projects[merge_request.project_id]
    attributes = build_attributes(state, merge_request) | {"action": change.action, "system": False}
    if change.oldrev:
        attributes["oldrev"] = change.oldrev
    body = {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": build_user(state, change.user_id),
        "project": build_project(state, project),
        "object_attributes": attributes,
        "labels": attributes["labels"],
        "changes": {name: _build_change(state, merge_request, name, ends) for name, ends in change.changes.items()},
        "repository": build_repository(state, project),
        "assignees": [],
        "reviewers": [],
    }
    return Event("merge_requests_events", "Merge Request Hook", project.id, body)


def build_attributes(state: GitLabState, merge_request: MergeRequest) -> dict[str, Any]:
    """What an event says of a merge request."""
    target = state.projects[merge_request.project_id]
    source = state.projects[merge_request.source_project_id]
    commit = target.repository.get_commit(merge_request.head)
    pipeline = find_head_pipeline(state, merge_request)
    status = compute_detailed_status(state, merge_request)
    return {
        "id": merge_request.id,
        "iid": merge_request.iid,
        "assignee_id": None, "assignee_ids": [], "reviewer_ids": [], "milestone_id": None,
        "author_id": merge_request.author_id,
        "created_at": build_utc_time(merge_request.created_at),
        "updated_at": build_utc_time(merge_request.updated_at),
        "last_edited_at": None, "last_edited_by_id": None, "updated_by_id": None,
        "description": merge_request.description,
        "title": merge_request.title,
        "draft": merge_request.draft, "work_in_progress": merge_request.draft,
        "head_pipeline_id": pipeline.id if pipeline else None,
        "merge_commit_sha": merge_request.merge_commit_sha,
        "merge_error": None, "merge_params": {}, "merge_user_id": None, "merge_when_pipeline_succeeds": False,
        "merge_status": "cannot_be_merged" if status == "conflict" else "can_be_merged",
        "detailed_merge_status": status,
        "prepared_at": build_utc_time(merge_request.created_at),
        "source_branch": merge_request.source_branch, "source_project_id": source.id,
        "target_branch": merge_request.target_branch, "target_project_id": target.id,
        "state": merge_request.state, "state_id": STATES[merge_request.state],
        "url": build_url(state, target, merge_request),
        "source": build_project(state, source), "target": build_project(state, target),
        "last_commit": build_commit(state, target, commit) if commit else None,
        "time_estimate": 0, "total_time_spent": 0, "time_change": 0,
        "human_total_time_spent": None, "human_time_change": None, "human_time_estimate": None,
        "labels": _build_labels(state, merge_request, merge_request.labels),
        "blocking_discussions_resolved": compute_is_resolved(merge_request),
        "first_contribution": False,
    }  # fmt: skip


def _build_change(state: GitLabState, merge_request: MergeRequest, name: str, ends: dict[str, Any]) -> dict[str, Any]:
    if name == "labels":
        return {end: _build_labels(state, merge_request, labels) for end, labels in ends.items()}
    if name == "updated_at":
        return {end: build_utc_time(at) for end, at in ends.items()}
    return dict(ends)


def _build_labels(state: GitLabState, merge_request: MergeRequest, names: list[str]) -> list[dict[str, Any]]:
    at = build_time(merge_request.created_at)
    return [
        {
            "id": state.get_label_id(name), "title": name, "color": "#6699cc", "project_id": merge_request.project_id,
            "created_at": at, "updated_at": at, "template": False, "description": None, "type": "ProjectLabel",
            "group_id": None,
        }
        for name in names
    ]  # fmt: skip

"""How GitLab's REST API shows merge requests, the notes on them and their discussions. Pure.

Source: https://docs.gitlab.com/api/merge_requests/, https://docs.gitlab.com/api/notes/,
https://docs.gitlab.com/api/discussions/
"""

from __future__ import annotations

from typing import Any

from .clock import build_time
from .discussions import compute_is_resolved
from .merge_requests import compute_detailed_status, find_head_pipeline
from .model import MergeRequest, Note, Project, Version
from .state import GitLabState
from .views import build_pipeline, build_user


def build_merge_request(state: GitLabState, project: Project, merge_request: MergeRequest) -> dict[str, Any]:
    """A merge request as lists show it; the simulator has no reviews."""
    reference = f"!{merge_request.iid}"
    ended = {what: merge_request.state == what for what in ("merged", "closed")}
    ended_by, ended_at = build_user(state, merge_request.ended_by), build_time(merge_request.ended_at)
    status = compute_detailed_status(state, merge_request)
    return {
        "id": merge_request.id,
        "iid": merge_request.iid,
        "project_id": project.id,
        "title": merge_request.title,
        "description": merge_request.description,
        "state": merge_request.state,
        "created_at": build_time(merge_request.created_at),
        "updated_at": build_time(merge_request.updated_at),
        **{f"{what}_by": ended_by if ended[what] else None for what in ended},
        **{f"{what}_at": ended_at if ended[what] else None for what in ended},
        "target_branch": merge_request.target_branch,
        "source_branch": merge_request.source_branch,
        "source_project_id": merge_request.source_project_id,
        "target_project_id": project.id,
        "user_notes_count": sum(not note.system for note in merge_request.notes.values()),
        "upvotes": 0, "downvotes": 0,
        "author": build_user(state, merge_request.author_id),
        "assignee": None, "assignees": [], "reviewers": [], "labels": list(merge_request.labels), "milestone": None,
        "draft": merge_request.draft, "work_in_progress": merge_request.draft,
        "merge_status": "cannot_be_merged" if status == "conflict" else "can_be_merged",
        "detailed_merge_status": status, "has_conflicts": status == "conflict",
        "blocking_discussions_resolved": compute_is_resolved(merge_request),
        "sha": merge_request.head,
        "merge_commit_sha": merge_request.merge_commit_sha, "squash_commit_sha": None, "squash": False,
        "reference": reference,
        "references": {"short": reference, "relative": reference, "full": project.full_path + reference},
        "web_url": build_url(state, project, merge_request),
    }  # fmt: skip


def build_merge_request_details(state: GitLabState, project: Project, merge_request: MergeRequest) -> dict[str, Any]:
    """A merge request as it is shown alone."""
    pipeline = find_head_pipeline(state, merge_request)
    base = merge_request.base
    count = len(project.repository.list_changed_paths(base, merge_request.head))
    most = state.settings.diff_max_files
    return {
        **build_merge_request(state, project, merge_request),
        "changes_count": f"{most}+" if count > most else str(count),
        "diff_refs": {"base_sha": base, "head_sha": merge_request.head, "start_sha": merge_request.start},
        "pipeline": build_pipeline(state, pipeline) if pipeline else None,
        "head_pipeline": build_pipeline(state, pipeline) if pipeline else None,
        "merge_error": None,
        "first_contribution": False,
        "diverged_commits_count": 0,
    }


def build_url(state: GitLabState, project: Project, merge_request: MergeRequest) -> str:
    """Where its page would be."""
    return f"{state.external_url}/{project.full_path}/-/merge_requests/{merge_request.iid}"


def build_version(merge_request: MergeRequest, version: Version) -> dict[str, Any]:
    """https://docs.gitlab.com/api/merge_requests/#retrieve-merge-request-diff-versions"""
    return {
        "id": version.id,
        "head_commit_sha": version.head,
        "base_commit_sha": version.base,
        "start_commit_sha": version.start,
        "created_at": build_time(version.created_at),
        "merge_request_id": merge_request.id,
        "state": "collected",
        "real_size": "1",
        "patch_id_sha": None,
    }


def build_note(state: GitLabState, project: Project, merge_request: MergeRequest, note: Note) -> dict[str, Any]:
    """A comment on a merge request, or a part of a discussion."""
    resolution = {
        "resolved": note.resolved_by is not None,
        "resolved_by": build_user(state, note.resolved_by),
        "resolved_at": build_time(note.resolved_at),
    }
    return {
        "id": note.id,
        "type": "DiscussionNote" if note.resolvable else None,
        "body": note.body,
        "attachment": None,
        "author": build_user(state, note.author_id),
        "created_at": build_time(note.created_at),
        "updated_at": build_time(note.updated_at),
        "system": note.system,
        "noteable_id": merge_request.id,
        "noteable_type": "MergeRequest",
        "project_id": project.id,
        "noteable_iid": merge_request.iid,
        "resolvable": note.resolvable,
        **(resolution if note.resolvable else {}),
        "confidential": note.internal,
        "internal": note.internal,
        "imported": False,
        "imported_from": "none",
        "commands_changes": {},
    }


def build_discussion(
    state: GitLabState, project: Project, merge_request: MergeRequest, notes: list[Note]
) -> dict[str, Any]:
    """Notes that belong together; a comment is alone."""
    return {
        "id": notes[0].discussion,
        "individual_note": not notes[0].resolvable,
        "notes": [build_note(state, project, merge_request, note) for note in notes],
    }

"""How GitLab's REST API shows what is in and about a repository. Pure.

Source: https://docs.gitlab.com/api/commits/, https://docs.gitlab.com/api/repository_files/,
https://docs.gitlab.com/api/merge_requests/, https://docs.gitlab.com/api/notes/
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from .clock import build_time
from .model import ExternalStatus, Job, MergeRequest, Note, Pipeline, Project
from .repository import Commit
from .state import GitLabState
from .views import build_commit, build_pipeline, build_user


def build_file(project: Project, commit: Commit, path: str, ref: str) -> dict[str, Any]:
    """Say all of a file that a commit has, but its content."""
    file = commit.files[path]
    return {
        "file_name": path.rpartition("/")[2],
        "file_path": path,
        "size": len(file.content),
        "encoding": "base64",
        "content_sha256": sha256(file.content).hexdigest(),
        "ref": ref,
        "blob_id": file.blob_id,
        "commit_id": commit.sha,
        "last_commit_id": project.repository.get_last_change(commit, path).sha,
        "execute_filemode": file.executable,
    }


def find_last_pipeline(state: GitLabState, project: Project, sha: str) -> Pipeline | None:
    """Find the latest pipeline of a commit."""
    wanted = (project.id, sha)
    return next((one for one in reversed(state.pipelines.values()) if (one.project_id, one.sha) == wanted), None)


def build_commit_details(state: GitLabState, project: Project, commit: Commit, *, stats: bool) -> dict[str, Any]:
    """A commit as ``GET /projects/:id/repository/commits/:sha`` shows it."""
    pipeline = find_last_pipeline(state, project, commit.sha)
    added, removed = project.repository.count_lines(commit)
    return {
        **build_commit(state, project, commit),
        **({"stats": {"additions": added, "deletions": removed, "total": added + removed}} if stats else {}),
        "status": pipeline.reported if pipeline else None,
        "project_id": project.id,
        "last_pipeline": build_pipeline(state, pipeline) if pipeline else None,
    }


def build_status(state: GitLabState, status: Job | ExternalStatus) -> dict[str, Any]:
    """What GitLab's own job, or another program, says of a commit."""
    pipeline, project = state.pipelines[status.pipeline_id], state.projects[status.project_id]
    if isinstance(status, ExternalStatus):
        own = {
            "ref": status.ref,
            "target_url": status.target_url,
            "description": status.description,
            "allow_failure": False,
            "coverage": status.coverage,
            "author": build_user(state, status.user_id),
        }
    else:
        own = {
            "ref": pipeline.ref,
            "target_url": f"{state.external_url}/{project.full_path}/-/jobs/{status.id}",
            "description": None,
            "allow_failure": status.spec.allow_failure,
            "coverage": None,
            "author": build_user(state, pipeline.user_id),
        }
    return own | {
        "id": status.id,
        "sha": pipeline.sha,
        "status": status.status.value,
        "name": status.name,
        "created_at": build_time(status.created_at),
        "started_at": build_time(status.started_at),
        "finished_at": build_time(status.finished_at),
        "pipeline_id": pipeline.id,
    }


def build_merge_request(state: GitLabState, project: Project, merge_request: MergeRequest) -> dict[str, Any]:
    """Return a merge request; the simulator has no reviews and no merges."""
    head = project.repository.branches[merge_request.source_branch]
    base = project.repository.branches[merge_request.target_branch]
    pipeline = find_last_pipeline(state, project, head)
    reference = f"!{merge_request.iid}"
    return {
        "id": merge_request.id,
        "iid": merge_request.iid,
        "project_id": project.id,
        "title": merge_request.title,
        "description": merge_request.description,
        "state": merge_request.state,
        "created_at": build_time(merge_request.created_at),
        "updated_at": build_time(merge_request.created_at),
        "merged_by": None, "merged_at": None, "closed_by": None, "closed_at": None,
        "target_branch": merge_request.target_branch,
        "source_branch": merge_request.source_branch,
        "source_project_id": project.id,
        "target_project_id": project.id,
        "user_notes_count": len(merge_request.notes),
        "upvotes": 0, "downvotes": 0,
        "author": build_user(state, merge_request.author_id),
        "assignee": None, "assignees": [], "reviewers": [], "labels": [], "milestone": None,
        "draft": False, "work_in_progress": False,
        "merge_status": "can_be_merged", "detailed_merge_status": "mergeable", "has_conflicts": False,
        "sha": head,
        "merge_commit_sha": None, "squash_commit_sha": None, "squash": False,
        "diff_refs": {"base_sha": base, "head_sha": head, "start_sha": base},
        "pipeline": build_pipeline(state, pipeline) if pipeline else None,
        "head_pipeline": build_pipeline(state, pipeline) if pipeline else None,
        "reference": reference,
        "references": {"short": reference, "relative": reference, "full": project.full_path + reference},
        "web_url": f"{state.external_url}/{project.full_path}/-/merge_requests/{merge_request.iid}",
    }  # fmt: skip


def build_note(state: GitLabState, project: Project, merge_request: MergeRequest, note: Note) -> dict[str, Any]:
    """A comment on a merge request."""
    return {
        "id": note.id,
        "type": None,
        "body": note.body,
        "attachment": None,
        "author": build_user(state, note.author_id),
        "created_at": build_time(note.created_at),
        "updated_at": build_time(note.updated_at),
        "system": False,
        "noteable_id": merge_request.id,
        "noteable_type": "MergeRequest",
        "project_id": project.id,
        "noteable_iid": merge_request.iid,
        "resolvable": False,
        "confidential": note.internal,
        "internal": note.internal,
        "imported": False,
        "imported_from": "none",
        "commands_changes": {},
    }

"""How GitLab's REST API shows a commit and what is said of it. Pure.

Source: https://docs.gitlab.com/api/commits/
"""

from __future__ import annotations

from typing import Any

from .clock import build_time
from .git.objects import Commit
from .model import ExternalStatus, Job, Pipeline, Project
from .state import GitLabState
from .views import build_commit, build_pipeline, build_user


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

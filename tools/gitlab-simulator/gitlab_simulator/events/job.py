"""Jobs: https://docs.gitlab.com/user/project/integrations/webhook_events/#job-events

Source: lib/gitlab/data_builder/build.rb
"""

from __future__ import annotations

from typing import Any

from ..clock import build_time
from ..model import Job
from ..pipelines import compute_pipeline_times
from ..state import GitLabState
from ..views import compute_duration, compute_queued, get_pipeline_commit
from .event import Event
from .parts import build_repository, build_runner, build_user


def build_event(state: GitLabState, job: Job) -> Event:
    project, pipeline = state.projects[job.project_id], state.pipelines[job.pipeline_id]
    commit = get_pipeline_commit(project, pipeline)
    times = compute_pipeline_times(state, pipeline)
    body: dict[str, Any] = {
        "object_kind": "build",
        "ref": pipeline.ref,
        "tag": pipeline.tag,
        "before_sha": pipeline.before_sha,
        "sha": pipeline.sha,
        "build_id": job.id,
        "build_name": job.name,
        "build_stage": job.stage,
        "build_status": job.status.value,
        "build_created_at": build_time(job.created_at),
        "build_started_at": build_time(job.started_at),
        "build_finished_at": build_time(job.finished_at),
        "build_duration": compute_duration(state, job),
        "build_queued_duration": compute_queued(state, job),
        "build_allow_failure": job.spec.allow_failure,
        "build_failure_reason": job.failure_reason or "unknown_failure",
        "retries_count": job.attempt,
        "pipeline_id": pipeline.id,
        "runner": build_runner(state.runners.get(job.runner_id or 0)),
        "project_id": project.id,
        "project_name": project.full_path.replace("/", " / "),
        "user": build_user(state, state.get_job_user_id(job)),
        "commit": {
            "id": pipeline.id,
            "name": None,
            "sha": pipeline.sha,
            "message": commit.message,
            "author_name": commit.author_name,
            "author_email": commit.author_email,
            "author_url": f"mailto:{commit.author_email}",
            "status": pipeline.reported or "created",
            "duration": times.duration,
            "started_at": build_time(times.started_at),
            "finished_at": build_time(times.finished_at),
        },
        "repository": build_repository(state, project, "git_http_url", "git_ssh_url", "visibility_level"),
        "project": {"id": project.id, "path_with_namespace": project.full_path},
        "environment": _build_environment(job),
    }
    tags = {"tag_list": list(job.tags)} if state.settings.job_event_tags else {}
    return Event("job_events", "Job Hook", project.id, body | tags)


def _build_environment(job: Job) -> dict[str, str] | None:
    wanted = job.spec.environment
    return {"name": wanted.name, "action": wanted.action} if wanted else None

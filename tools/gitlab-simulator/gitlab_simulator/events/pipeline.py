"""Pipelines: https://docs.gitlab.com/user/project/integrations/webhook_events/#pipeline-events

Source: lib/gitlab/data_builder/pipeline.rb
"""

from __future__ import annotations

from typing import Any

from ..matching import compute_is_protected
from ..merge_request_views import build_url
from ..merge_requests import compute_detailed_status
from ..model import Job, JobStatus, MergeRequest, Pipeline
from ..pipelines import compute_pipeline_times, list_external_statuses, list_pipeline_jobs
from ..state import GitLabState
from ..views import compute_duration, compute_queued, get_pipeline_commit
from .event import Event
from .parts import build_commit, build_project, build_runner, build_user, build_utc_time

LABELS = {"success": "passed", "manual": "waiting for manual action", "running": "running"}
"""Of `detailed_status`; others are the status itself. Source: lib/gitlab/ci/status/*.rb"""


def build_event(state: GitLabState, pipeline: Pipeline) -> Event:
    project = state.projects[pipeline.project_id]
    merge_request = state.find_merge_request(pipeline.merge_request_id)
    body = {
        "object_kind": "pipeline",
        "object_attributes": _build_attributes(state, pipeline, merge_request),
        "merge_request": _build_merge_request(state, merge_request) if merge_request else None,
        "user": build_user(state, pipeline.user_id),
        "project": build_project(state, project, backward=False),
        "commit": build_commit(state, project, get_pipeline_commit(project, pipeline)),
        "builds": [_build_job(state, job) for job in list_pipeline_jobs(state, pipeline)],
    }
    return Event("pipeline_events", "Pipeline Hook", project.id, body)


def _build_attributes(state: GitLabState, pipeline: Pipeline, merge_request: MergeRequest | None) -> dict[str, Any]:
    project, times = state.projects[pipeline.project_id], compute_pipeline_times(state, pipeline)
    stages = list(dict.fromkeys(job.stage for job in list_pipeline_jobs(state, pipeline)))
    external = ["external"] if list_external_statuses(state, pipeline) else []
    return {
        "id": pipeline.id,
        "iid": pipeline.id,
        "name": None,
        "ref": merge_request.source_branch if merge_request else pipeline.ref,
        "tag": pipeline.tag,
        "sha": pipeline.sha,
        "before_sha": pipeline.before_sha,
        "source": pipeline.source,
        "status": pipeline.reported,
        "detailed_status": LABELS.get(pipeline.reported, pipeline.reported),
        "stages": stages + external,
        "created_at": build_utc_time(pipeline.created_at),
        "finished_at": build_utc_time(times.finished_at),
        "duration": times.duration,
        "queued_duration": times.queued_duration,
        "protected_ref": compute_is_protected(project, pipeline.ref, tag=pipeline.tag),
        "variables": [{"key": key, "value": value} for key, value in pipeline.variables.items()],
        "url": f"{state.external_url}/{project.full_path}/-/pipelines/{pipeline.id}",
    }


def _build_merge_request(state: GitLabState, merge_request: MergeRequest) -> dict[str, Any]:
    status = compute_detailed_status(state, merge_request)
    return {
        "id": merge_request.id,
        "iid": merge_request.iid,
        "title": merge_request.title,
        "source_branch": merge_request.source_branch,
        "source_project_id": merge_request.source_project_id,
        "target_branch": merge_request.target_branch,
        "target_project_id": merge_request.project_id,
        "state": merge_request.state,
        "merge_status": "cannot_be_merged" if status == "conflict" else "can_be_merged",
        "detailed_merge_status": status,
        "url": build_url(state, state.projects[merge_request.project_id], merge_request),
    }


def _build_job(state: GitLabState, job: Job) -> dict[str, Any]:
    archive = job.artifacts.get("archive")
    return {
        "id": job.id,
        "stage": job.stage,
        "name": job.name,
        "status": job.status.value,
        "created_at": build_utc_time(job.created_at),
        "started_at": build_utc_time(job.started_at),
        "finished_at": build_utc_time(job.finished_at),
        "duration": compute_duration(state, job),
        "queued_duration": compute_queued(state, job),
        "failure_reason": job.failure_reason if job.status is JobStatus.FAILED else None,
        "when": job.spec.when,
        "manual": job.spec.when == "manual",
        "allow_failure": job.spec.allow_failure,
        "user": build_user(state, state.get_job_user_id(job)),
        "runner": build_runner(state.runners.get(job.runner_id or 0)),
        "artifacts_file": {"filename": archive[0] if archive else None, "size": len(archive[1]) if archive else None},
        "environment": _build_environment(state, job),
    }


def _build_environment(state: GitLabState, job: Job) -> dict[str, Any] | None:
    wanted = job.spec.environment
    if wanted is None:
        return None
    tier = state.projects[job.project_id].environments[wanted.name].tier
    return {"name": wanted.name, "action": wanted.action, "deployment_tier": tier}

"""What happens to jobs and pipelines: created, pending, running, finished, cancelled, tried again, given up.

Every change of a status goes through `_set_status`, which tells the listeners.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .deployments import ensure_environment, follow_job
from .matching import compute_fits, compute_is_protected, compute_serves
from .model import AT_RUNNER, FINISHED, Job, JobStatus, MergeRequest, Pipeline, User
from .pipelines import compute_pipeline_status, list_pipeline_jobs
from .spec import JobSpec, PipelineSpec
from .stamps import tick_queues
from .state import GitLabState, NotThereError, compute_sha, compute_token

STUCK_RUNNING_SECONDS = 3600
"""A job that runs and was not updated for so long is given up (Ci::StuckBuilds::DropRunningService)."""
STUCK_PENDING_SECONDS = 3600
"""A job that no runner of its project could take is given up after so long."""
OUTDATED_PENDING_SECONDS = 24 * 3600
"""A job that no runner took is given up after so long."""


class NotAllowedError(Exception):
    """The job's status does not allow it."""


def _set_status(state: GitLabState, job: Job, status: JobStatus) -> None:
    job.status = status
    job.updated_at = state.clock.now()
    if status in FINISHED:
        job.finished_at = state.clock.now()
    follow_job(state, job)
    if status is not JobStatus.PENDING or state.settings.job_events_for_pending:
        state.tell("job", job.id)


def create_pipeline(state: GitLabState, spec: PipelineSpec) -> Pipeline:
    """Create a pipeline with its jobs; those of the first stage are pending at once.

    Raises:
        NotThereError: no such project or user.
    """
    project = state.get_project(spec.project)
    user = state.get_user(spec.user or "root")
    merge_request = _find_merge_request(state, spec.merge_request) if spec.merge_request else None
    ref = spec.ref or project.default_branch
    if merge_request:
        ref = merge_request.ref if merge_request.project_id == project.id else merge_request.source_branch
    refs = project.repository.tags if spec.tag else project.repository.branches
    sha = merge_request.head if merge_request else spec.sha or refs.get(ref) or compute_sha(project.full_path, ref)
    pipeline = Pipeline(
        state.next_id("pipeline"), project.id, ref, spec.tag, sha,
        "merge_request_event" if merge_request else spec.source, user.id, state.clock.now(), dict(spec.variables),
        merge_request_id=merge_request.id if merge_request else None,
    )  # fmt: skip
    if project.repository.get_commit(sha) is not None:
        pipeline.persistent_ref = f"refs/pipelines/{pipeline.id}"
        project.repository.set_ref(pipeline.persistent_ref, sha)
    state.pipelines[pipeline.id] = pipeline
    stages = list(dict.fromkeys(job.stage for job in spec.jobs))
    protected = compute_is_protected(project, ref, tag=spec.tag)
    for job_spec, name in zip(spec.jobs, _build_names(spec.jobs), strict=True):
        job = Job(
            id=state.next_id("job"), project_id=project.id, pipeline_id=pipeline.id, name=name,
            stage=job_spec.stage, stage_index=stages.index(job_spec.stage), protected=protected,
            tags=sorted(set(job_spec.tags)), spec=job_spec, token=compute_token("glcbt-"),
            created_at=state.clock.now(), updated_at=state.clock.now(),
        )  # fmt: skip
        if job_spec.environment is not None:
            ensure_environment(state, project, job_spec.environment.name, job_spec.environment.url)
        state.jobs[job.id] = job
        pipeline.job_ids.append(job.id)
        state.tell("job", job.id)
    advance_pipeline(state, pipeline)
    return pipeline


def _find_merge_request(state: GitLabState, name: str) -> MergeRequest:
    """Raises NotThereError: there is none of that name, such as ``hpc/site!1``."""
    path, _, number = name.partition("!")
    found = state.get_project(path).merge_requests.get(int(number)) if number.isdecimal() else None
    if found is None:
        raise NotThereError("MergeRequest")
    return found


def _build_names(specs: Sequence[JobSpec]) -> list[str]:
    """Return the jobs' names, unique within the pipeline: those of ``parallel: 3`` are "name 1/3" and so on.

    Source: https://docs.gitlab.com/ci/yaml/#parallel
    """
    totals, seen = Counter(spec.name for spec in specs), Counter[str]()
    names = []
    for spec in specs:
        seen[spec.name] += 1
        total = totals[spec.name]
        names.append(spec.name if total == 1 else f"{spec.name} {seen[spec.name]}/{total}")
    return names


def advance_pipeline(state: GitLabState, pipeline: Pipeline) -> None:
    """Let the jobs begin whose earlier stages are done, and tell when the pipeline's status changed."""
    jobs = list_pipeline_jobs(state, pipeline)
    for stage in sorted({job.stage_index for job in jobs}):
        earlier = [job for job in jobs if job.stage_index < stage]
        if any(job.status not in FINISHED and not _compute_is_optional(job) for job in earlier):
            break
        failed = any(job.status is JobStatus.FAILED and not job.spec.allow_failure for job in earlier)
        canceled = any(job.status is JobStatus.CANCELED for job in earlier)
        for job in (job for job in jobs if job.stage_index == stage and job.status is JobStatus.CREATED):
            _begin(state, job, failed=failed or canceled)
    status = compute_pipeline_status(state, pipeline)
    if status != pipeline.reported:
        pipeline.reported = status
        state.tell("pipeline", pipeline.id)


def _begin(state: GitLabState, job: Job, *, failed: bool) -> None:
    spec: JobSpec = job.spec
    if spec.when == "manual":
        _set_status(state, job, JobStatus.MANUAL)
    elif (spec.when == "on_success" and failed) or (spec.when == "on_failure" and not failed):
        _set_status(state, job, JobStatus.SKIPPED)
    else:
        enqueue_job(state, job)


def _compute_is_optional(job: Job) -> bool:
    """Return whether a job waits for a hand, and no job waits for it."""
    return job.status is JobStatus.MANUAL and bool(job.spec.allow_failure)


def enqueue_job(state: GitLabState, job: Job) -> None:
    """Make a job pending, and change the stamps of the runners that could take it."""
    job.pending_at = state.clock.now()
    _set_status(state, job, JobStatus.PENDING)
    tick_queues(state, job)


def start_job(state: GitLabState, job: Job) -> None:
    """A runner took it."""
    job.started_at = state.clock.now()
    job.claims += 1
    _set_status(state, job, JobStatus.RUNNING)
    advance_pipeline(state, state.pipelines[job.pipeline_id])


def finish_job(
    state: GitLabState, job: Job, *, success: bool, reason: str | None = None, exit_code: int | None = None
) -> None:
    """End a job; one that was being cancelled is cancelled whatever the runner says. A failed one may be retried."""
    job.exit_code = exit_code
    if job.status is JobStatus.CANCELING:
        _set_status(state, job, JobStatus.CANCELED)
    elif success:
        _set_status(state, job, JobStatus.SUCCESS)
    else:
        job.failure_reason = reason or "unknown_failure"
        _set_status(state, job, JobStatus.FAILED)
        if _wants_retry(job):
            retry_job(state, job)
    advance_pipeline(state, state.pipelines[job.pipeline_id])


def _wants_retry(job: Job) -> bool:
    retry = job.spec.retry
    if job.attempt >= retry.max:
        return False
    return "always" in retry.when or job.failure_reason in retry.when or job.exit_code in retry.exit_codes


def cancel_job(state: GitLabState, job: Job, *, force: bool = False) -> None:
    """Cancel a job: a runner that can do so is asked to stop it (canceling), others learn of it by being refused.

    Raises:
        NotAllowedError: the job is over already.
    """
    if job.status in FINISHED:
        raise NotAllowedError("Job is not cancelable")
    if job.status is JobStatus.RUNNING and job.runner_features.get("cancel_gracefully") and not force:
        _set_status(state, job, JobStatus.CANCELING)
    elif job.status is not JobStatus.CANCELING or force:
        _set_status(state, job, JobStatus.CANCELED)
    advance_pipeline(state, state.pipelines[job.pipeline_id])


def play_job(state: GitLabState, job: Job, user: User, variables: Mapping[str, str]) -> None:
    """Let a manual job begin, with the rights of a user and variables that are the job's alone.

    Raises:
        NotAllowedError: it does not wait for a hand.
    """
    if job.status is not JobStatus.MANUAL:
        raise NotAllowedError("Unplayable Job")
    job.user_id, job.variables = user.id, dict(variables)
    enqueue_job(state, job)
    advance_pipeline(state, state.pipelines[job.pipeline_id])


def retry_job(state: GitLabState, job: Job, user: User | None = None) -> Job:
    """Put a new job in the place of one that is over, by a user, or by GitLab itself.

    Raises:
        NotAllowedError: it is not over, or has been tried again already.
    """
    if job.status not in FINISHED - {JobStatus.SKIPPED} or job.retried:
        raise NotAllowedError("Job is not retryable")
    again = replace(
        copy.copy(job), id=state.next_id("job"), token=compute_token("glcbt-"), created_at=state.clock.now(),
        status=JobStatus.CREATED, failure_reason=None, exit_code=None, runner_id=None, system_id=None, claimed_by=None,
        pending_at=None, started_at=None, first_trace_at=None, finished_at=None, trace=bytearray(), artifacts={},
        attempt=job.attempt + 1, claims=0, runner_features={},
    )  # fmt: skip
    job.retried = True
    again.user_id = user.id if user else job.user_id
    state.jobs[again.id] = again
    pipeline = state.pipelines[job.pipeline_id]
    pipeline.job_ids.append(again.id)
    enqueue_job(state, again)
    advance_pipeline(state, pipeline)
    return again


def give_up_stuck_jobs(state: GitLabState) -> None:
    """Fail the jobs that no runner will finish, as GitLab's hourly worker does; here as soon as they are due."""
    now = state.clock.now()
    for job in list(state.jobs.values()):
        if job.status in AT_RUNNER and now - job.updated_at >= STUCK_RUNNING_SECONDS:
            finish_job(state, job, success=False, reason="stuck_or_timeout_failure")
        elif job.status is JobStatus.PENDING and job.pending_at is not None:
            waited = now - job.pending_at
            stuck = waited >= STUCK_PENDING_SECONDS and not _has_runner(state, job)
            if stuck or waited >= OUTDATED_PENDING_SECONDS:
                finish_job(state, job, success=False, reason="stuck_or_timeout_failure")


def _has_runner(state: GitLabState, job: Job) -> bool:
    project = state.projects[job.project_id]
    return any(
        not runner.paused and compute_fits(runner, job) and compute_serves(runner, project, state.groups)
        for runner in state.runners.values()
    )

"""What a pipeline is made of, and what it is as a whole. Pure.

Source: lib/gitlab/ci/status/composite.rb
"""

from __future__ import annotations

from dataclasses import dataclass

from .model import FINISHED, ExternalStatus, Job, JobStatus, Pipeline
from .state import GitLabState

_PASSED = frozenset({"warned", "ignored"})
ONLY_OF = (
    (frozenset({"skipped", "ignored"}), "skipped"),
    (_PASSED | {"success", "skipped"}, "success"),
    (_PASSED | {"created"}, "created"),
    (_PASSED | {"canceled", "success", "skipped"}, "canceled"),
    (_PASSED | {"pending", "created", "skipped"}, "pending"),
)
"""What a pipeline is whose jobs are nothing else. One that failed or was cancelled, and may, has warned."""
ANY_OF = (
    (frozenset({"running", "pending"}), "running"),
    (frozenset({"canceling"}), "canceling"),
    (frozenset({"manual"}), "manual"),
    (frozenset({"created"}), "running"),
)
"""What a pipeline is otherwise, by one of its jobs."""


def list_pipeline_jobs(state: GitLabState, pipeline: Pipeline) -> list[Job]:
    """The jobs of a pipeline without those that were tried again."""
    return [job for job in map(state.jobs.__getitem__, pipeline.job_ids) if not job.retried]


def list_external_statuses(state: GitLabState, pipeline: Pipeline) -> list[ExternalStatus]:
    """Return the latest external statuses of a pipeline's commit, without replaced ones."""
    return [one for one in state.statuses.values() if one.pipeline_id == pipeline.id and not one.retried]


def compute_pipeline_status(state: GitLabState, pipeline: Pipeline) -> str:
    """Return the status of a pipeline from those of its jobs, and from what other programs say of its commit.

    Source: lib/gitlab/ci/status/composite.rb
    """
    outcomes = [(job.status, bool(job.spec.allow_failure)) for job in list_pipeline_jobs(state, pipeline)]
    outcomes += [(one.status, False) for one in list_external_statuses(state, pipeline)]
    found = {_classify(status, may_fail=may_fail) for status, may_fail in outcomes}
    for allowed, status in ONLY_OF:
        if found <= allowed:
            return status
    for wanted, status in ANY_OF:
        if wanted & found:
            return status
    return "failed"


def _classify(status: JobStatus, *, may_fail: bool) -> str:
    if may_fail and status in (JobStatus.FAILED, JobStatus.CANCELED):
        return "warned"
    return "ignored" if may_fail and status is JobStatus.MANUAL else status.value


@dataclass(frozen=True)
class PipelineTimes:
    """When the first of a pipeline's jobs began and the last one ended, and how many seconds it waited and took."""

    started_at: float | None = None
    finished_at: float | None = None
    duration: int | None = None
    queued_duration: int | None = None


def compute_pipeline_times(state: GitLabState, pipeline: Pipeline) -> PipelineTimes:
    """Return a pipeline's times, as far as it has got."""
    parts: list[Job | ExternalStatus] = [*list_pipeline_jobs(state, pipeline), *list_external_statuses(state, pipeline)]
    started = min((one.started_at for one in parts if one.started_at is not None), default=None)
    queued = None if started is None else int(started - pipeline.created_at)
    ended = [one.finished_at for one in parts if one.finished_at is not None]
    if any(one.status not in FINISHED and one.status is not JobStatus.MANUAL for one in parts) or not ended:
        return PipelineTimes(started, None, None, queued)
    return PipelineTimes(started, max(ended), int(max(ended) - (started or max(ended))), queued)

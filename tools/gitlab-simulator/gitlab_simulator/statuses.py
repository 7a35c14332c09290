"""External commit statuses, and the allowed transitions between them.

Source: https://docs.gitlab.com/api/commits/#commit-status; the transitions are those of CommitStatus, and the choice of
the pipeline is that of Ci::CreateCommitStatusService, in GitLab's sources.
"""

from __future__ import annotations

from dataclasses import dataclass

from .git.objects import Commit
from .jobs import advance_pipeline
from .matching import compute_is_protected
from .model import FINISHED, MAINTAINER, ExternalStatus, Job, JobStatus, Pipeline, Project, User
from .pipelines import list_external_statuses
from .state import GitLabState

LONGEST = 255
"""Characters of a description and a URL."""
LOOKED_AT = 100
"""The latest pipelines of a commit, one of which a status that names none goes to."""
OPEN = frozenset({JobStatus.PENDING, JobStatus.RUNNING})
STEPS: dict[str, tuple[frozenset[JobStatus], JobStatus]] = {
    "enqueue": (frozenset({JobStatus.CREATED, JobStatus.SKIPPED, JobStatus.MANUAL}), JobStatus.PENDING),
    "run": (frozenset({JobStatus.PENDING}), JobStatus.RUNNING),
    "success": (frozenset({JobStatus.CREATED, JobStatus.PENDING, JobStatus.RUNNING}), JobStatus.SUCCESS),
    "drop": (frozenset({JobStatus.CREATED, JobStatus.PENDING, JobStatus.RUNNING}), JobStatus.FAILED),
    "cancel": (frozenset({JobStatus.CREATED, JobStatus.PENDING, JobStatus.RUNNING}), JobStatus.CANCELED),
    "skip": (frozenset({JobStatus.CREATED, JobStatus.PENDING}), JobStatus.SKIPPED),
}
"""From where to where each step leads."""
STATES = {
    "pending": "enqueue",
    "running": "run",
    "success": "success",
    "failed": "drop",
    "canceled": "cancel",
    "skipped": "skip",
}
"""Reportable states, and the transition that each requests."""


class RefusedError(Exception):
    """GitLab does not take a status: `status` is that of the answer, `said` its message."""

    def __init__(self, status: int, said: str | dict[str, list[str]]) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


@dataclass(frozen=True)
class Report:
    """A reported status of a commit."""

    state: str
    name: str
    ref: str | None = None
    """None: that of the commit's latest pipeline, or a branch that it is on."""
    pipeline_id: int | None = None
    description: str | None = None
    target_url: str | None = None
    coverage: float | None = None


def report_status(state: GitLabState, project: Project, user: User, commit: Commit, report: Report) -> ExternalStatus:
    """Take what a user says: it changes the user's own status of that name that is not over, or is a new one.

    A pipeline that was made for it stays, also where the status is refused then. Raises RefusedError.
    """
    found = _find_pipeline(state, project, commit, report)
    ref = _find_ref(project, commit, report, found)
    if found is None and report.pipeline_id is not None:
        raise RefusedError(404, "404 Pipeline for pipeline_id, sha and ref Not Found")
    full = found is not None and _compute_is_full(state, found, user, report.name, ref)
    if full and report.pipeline_id is not None:
        raise RefusedError(422, "The number of jobs has exceeded the limit")
    pipeline = _create_pipeline(state, project, user, ref, commit.sha) if found is None or full else found
    protected = compute_is_protected(project, ref, tag=pipeline.tag)
    if protected and state.compute_access(user, project.full_path) < MAINTAINER:
        raise RefusedError(403, "403 Forbidden")
    _check(state, pipeline, report)
    status = _find_open(state, pipeline, user, report.name, ref)
    if status is None:
        number = state.next_id("job")
        status = ExternalStatus(number, project.id, pipeline.id, report.name, ref, user.id, state.clock.now())
    _take_step(state, status, report.state)
    for name in ("description", "target_url", "coverage"):
        if (value := getattr(report, name)) is not None:
            setattr(status, name, value)
    for one in list_external_statuses(state, pipeline):
        if (one.name, one.ref) == (report.name, ref):
            one.retried = one is not status
    state.statuses[status.id] = status
    advance_pipeline(state, pipeline)
    return status


def _find_ref(project: Project, commit: Commit, report: Report, pipeline: Pipeline | None) -> str:
    """The ref of the report, of the pipeline, or of a branch that the commit is on. Raises RefusedError: none."""
    ref = report.ref or (pipeline.ref if pipeline else "")
    ref = ref or next(iter(project.repository.list_branches_with(commit.sha)), "")
    if not ref:
        raise RefusedError(404, "404 References for commit Not Found")
    return ref


def _create_pipeline(state: GitLabState, project: Project, user: User, ref: str, sha: str) -> Pipeline:
    number = state.next_id("pipeline")
    pipeline = Pipeline(number, project.id, ref, False, sha, "external", user.id, state.clock.now())
    state.pipelines[number] = pipeline
    return pipeline


def _compute_is_full(state: GitLabState, pipeline: Pipeline, user: User, name: str, ref: str) -> bool:
    """Return whether a pipeline takes no status, as it has too many and none of them is the one that is changed."""
    limit = state.settings.ci_pipeline_size
    external = sum(one.pipeline_id == pipeline.id for one in state.statuses.values())
    too_many = 0 < limit <= len(pipeline.job_ids) + external
    return too_many and _find_open(state, pipeline, user, name, ref) is None


def _find_open(state: GitLabState, pipeline: Pipeline, user: User, name: str, ref: str) -> ExternalStatus | None:
    """Find the user's status that a report changes: one that is pending or running."""
    wanted = (name, ref, user.id)
    open_ones = (one for one in list_external_statuses(state, pipeline) if one.status in OPEN)
    return next((one for one in open_ones if (one.name, one.ref, one.user_id) == wanted), None)


def list_statuses(state: GitLabState, project: Project, sha: str, *, every: bool) -> list[Job | ExternalStatus]:
    """Return the statuses of a commit, oldest first: GitLab's own jobs and external statuses.

    With ``every``, retried and replaced ones are included.
    """
    pipelines = {one.id for one in state.pipelines.values() if (one.project_id, one.sha) == (project.id, sha)}
    found: list[Job | ExternalStatus] = [*state.jobs.values(), *state.statuses.values()]
    found = [one for one in found if one.pipeline_id in pipelines and (every or not one.retried)]
    return sorted(found, key=lambda one: one.id)


def _find_pipeline(state: GitLabState, project: Project, commit: Commit, report: Report) -> Pipeline | None:
    wanted = (project.id, commit.sha)
    newest = [one for one in reversed(state.pipelines.values()) if (one.project_id, one.sha) == wanted]
    for pipeline in newest if report.pipeline_id is not None else newest[:LOOKED_AT]:
        if report.pipeline_id in (None, pipeline.id) and report.ref in (None, pipeline.ref):
            return pipeline
    return None


def _check(state: GitLabState, pipeline: Pipeline, report: Report) -> None:
    wrong: dict[str, list[str]] = {}
    if any(state.jobs[number].name == report.name for number in pipeline.job_ids):
        wrong["name"] = ["has already been taken"]
    for name in ("name", "description", "target_url"):
        if len(getattr(report, name) or "") > LONGEST:
            wrong.setdefault(name, []).append(f"is too long (maximum is {LONGEST} characters)")
    if report.target_url and not report.target_url.startswith(("http://", "https://")):
        wrong.setdefault("target_url", []).append("is blocked: Only allowed schemes are http, https")
    if wrong:
        raise RefusedError(400, wrong)


def _take_step(state: GitLabState, status: ExternalStatus, wanted: str) -> None:
    before, step = status.status, STATES[wanted]
    if step == "run" and before in STEPS["enqueue"][0]:
        before = JobStatus.PENDING
    allowed, after = STEPS[step]
    if before not in allowed:
        reason = f'(Reason(s): Status cannot transition via "{step}")'
        raise RefusedError(400, f"Cannot transition status via :{step} from :{before.value} {reason}")
    status.status = after
    if after is JobStatus.RUNNING:
        status.started_at = state.clock.now()
    if after in FINISHED - {JobStatus.SKIPPED}:
        status.finished_at = state.clock.now()

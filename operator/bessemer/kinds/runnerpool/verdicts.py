"""The conditions of a pool. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from bessemer.api.reasons import (
    ACCESS_TOKEN_REFUSED,
    GITLAB_NOT_FOUND,
    GITLAB_REFUSED,
    GITLAB_UNAVAILABLE,
    INVALID_SPEC,
    POD_LOST,
    QUOTA_EXCEEDED,
)
from bessemer.api.runnerpool.spec import Mode
from bessemer.api.runnerpool.status import BackOff
from bessemer.engine.conditions import Truth, Verdict
from bessemer.kinds.runnerpool.demand.numbers import compute_answered
from bessemer.kinds.runnerpool.facts import Facts, RunnerPodFact, RunnerPodState, WaitingJob
from bessemer.kinds.runnerpool.plan import Scaling

FIELDS = {
    GITLAB_REFUSED: "spec.gitlab.apiTokenSecret",
    ACCESS_TOKEN_REFUSED: "spec.gitlab.apiTokenSecret",
    "AccessTokenExpires": "spec.gitlab.apiTokenSecret",
    GITLAB_NOT_FOUND: "spec.gitlab.scope",
    GITLAB_UNAVAILABLE: "spec.gitlab.url",
}
"""Part of the spec to check, by GitLab's answer."""
NOT_YET_POLLED = "NotYetPolled"
MANY_TRIES = 3
"""Number of pods that asked for a job without success. For one or two, another runner may have been faster before
GitLab's list of waiting jobs showed that."""
STALL = timedelta(minutes=2)
"""A pod that has not started after this time is reported as stalled even without an error; image pulls are reported,
too."""
STALLED = "PodStalled"
"""Reason for such a pod if neither its status nor its events have one."""
MANAGER_PATIENCE = timedelta(minutes=5)
"""How long a job may wait although a manager, which asks for jobs every few seconds, has room for it."""
NOTHING_SAID = (
    "GitLab answered each that there is none for it: the runner may be paused in GitLab, have other tags there than "
    "spec.runner.tags, or not be enabled for the job's project"
)


def compute_verdicts(
    facts: Facts, scaling: Scaling, minimum: int, back_off: BackOff | None, now: datetime
) -> list[Verdict]:
    """Return the conditions of a pool; ``minimum`` is min after schedules."""
    runner, demand = facts.runner, facts.demand
    limited = _find_limit(facts, scaling)
    taken = _compute_jobs_taken(facts, now)
    keeping = back_off if limited and limited[0] == "BackOff" else None
    return [
        _compute_ready(facts, minimum, _find_obstacle(facts, keeping, now) or _find_futility(facts, taken, now)),
        Verdict("RunnerRegistered", _truth(runner.ready), runner.reason, _name_field(runner.reason, runner.message)),
        Verdict("DemandKnown", _truth(demand.known), demand.reason, _name_field(demand.reason, demand.message)),
        taken,
        Verdict("ScalingLimited", "True", *limited) if limited else Verdict("ScalingLimited", "False", "Unlimited"),
        _compute_pods_lost(facts),
        Verdict("Draining", "True", "Deleted", _count_left(len(facts.list_live())))
        if facts.pool.deleted is not None
        else Verdict("Draining", "False", "InUse"),
    ]


def compute_stall(pod: RunnerPodFact) -> datetime | None:
    """Return when a starting pod counts as stalled; None for a pod for which Kubernetes reports why it waits."""
    return pod.created + STALL if pod.state is RunnerPodState.STARTING and not pod.reason else None


def _count_left(pods: int) -> str:
    return "1 pod is left" if pods == 1 else f"{pods} pods are left"


def _compute_ready(facts: Facts, minimum: int, obstacle: tuple[str, str] | None) -> Verdict:
    """Return whether jobs get runners; if that can't be known yet, the condition says so."""
    demand, spec = facts.demand, facts.pool.spec
    failure = _find_failure(facts) or obstacle
    if failure is not None:
        return Verdict("Ready", "False", *failure)
    if demand.known:
        return Verdict("Ready", "True", "Serving")
    if demand.reason == NOT_YET_POLLED:
        return Verdict("Ready", "Unknown", demand.reason, demand.message)
    if demand.blind and (minimum > 0 or (spec is not None and spec.mode is Mode.MANAGER)):
        return Verdict("Ready", "True", "DemandUnknown", f"min runners are kept: {demand.message}")
    why = "; min is 0, so no runner is there to ask for them" if demand.blind else ""
    return Verdict("Ready", "False", demand.reason, _name_field(demand.reason, f"{demand.message}{why}"))


def _find_failure(facts: Facts) -> tuple[str, str] | None:
    """Return why no pod is created at all."""
    runner = facts.runner
    if facts.pool.deleted is not None:
        return "Deleting", "the pool takes no more jobs"
    if facts.pool.spec is None:
        return INVALID_SPEC, facts.pool.spec_error
    return None if runner.ready else (runner.reason, _name_field(runner.reason, runner.message))


def _name_field(reason: str, message: str) -> str:
    return f"{FIELDS[reason]}: {message}" if reason in FIELDS else message


def _find_limit(facts: Facts, scaling: Scaling) -> tuple[str, str] | None:
    refusal = facts.refusal
    if refusal is not None and refusal.reason == QUOTA_EXCEEDED:
        return refusal.reason, refusal.message
    if refusal is not None:
        return "BackOff", f"{refusal.reason}: {refusal.message}"
    return (scaling.limit.reason, scaling.limit.message) if scaling.limit else None


def _find_obstacle(facts: Facts, back_off: BackOff | None, now: datetime) -> tuple[str, str] | None:
    """Return why pods don't start, if none is running; otherwise the running pods handle the jobs."""
    pod = find_hindered(facts, now)
    if pod is None:
        return None if back_off is None else (back_off.cause, back_off.message)
    if pod.reason:
        return pod.reason, f"{pod.name}: {pod.message or pod.reason}"
    text = "has not started for minutes, and Kubernetes says no reason: kubectl describe pod has its events"
    return STALLED, f"{pod.name}: {text}"


def find_hindered(facts: Facts, now: datetime) -> RunnerPodFact | None:
    """Return the oldest pod that does not start, if no pod of the pool runs; otherwise None."""
    if facts.list_in(RunnerPodState.RUNNING) or facts.list_in(RunnerPodState.IDLE):
        return None
    starting = [(pod, compute_stall(pod)) for pod in facts.list_in(RunnerPodState.STARTING)]
    return next((pod for pod, stall in starting if stall is None or stall <= now), None)


def _compute_jobs_taken(facts: Facts, now: datetime) -> Verdict:
    """Return whether a job waits that GitLab gives to none of the pods that ask for it."""
    spec, demand = facts.pool.spec, facts.demand
    if not demand.known or spec is None:
        return Verdict("JobsTaken", "Unknown", demand.reason, "which jobs wait is not known")
    if spec.mode is Mode.MANAGER:
        return _compute_jobs_taken_by_manager(facts, spec.max, now)
    futile = _list_futile(facts)
    if not futile:
        return Verdict("JobsTaken", "True", "Taken")
    job, *others = futile
    tried = job.tried
    times, said = (tried.times, tried.said) if tried is not None else (0, "")
    why = f"the last was told by its runner: {said}" if said else NOTHING_SAID
    more = f"; so do {len(others)} more jobs" if others else ""
    return Verdict("JobsTaken", "False", "JobWaits", f"job {job.job.id} waits though {times} pods asked: {why}{more}")


def _compute_jobs_taken_by_manager(facts: Facts, most: int, now: datetime) -> Verdict:
    asking = [pod.started for pod in facts.list_in(RunnerPodState.RUNNING) if pod.started is not None]
    busy = sum(not pod.leaving for pod in facts.job_pods) >= most
    for job in facts.demand.jobs if asking and not busy else ():
        since = max(filter(None, (min(asking), job.job.queued_at)))
        if now - since >= MANAGER_PATIENCE:
            text = (
                f"job {job.job.id} waits though the manager has asked for jobs for minutes: its log may say why; else"
            )
            return Verdict("JobsTaken", "False", "JobWaits", f"{text} {NOTHING_SAID}")
    return Verdict("JobsTaken", "True", "Taken")


def _list_futile(facts: Facts) -> list[WaitingJob]:
    """Return the jobs that too many pods have asked for without success, oldest first."""
    return [job for job in facts.demand.jobs if job.tried is not None and job.tried.times >= MANY_TRIES]


def _find_futility(facts: Facts, taken: Verdict, now: datetime) -> tuple[str, str] | None:
    """Return why pods ask without success, if none has had a job since."""
    if taken.status != "False":
        return None
    # By then a pod that was sent for a job has it or has ended; a manager runs with or without jobs.
    at_work = facts.is_of_pods and any(compute_answered(pod) <= now for pod in facts.list_in(RunnerPodState.RUNNING))
    if at_work or any(not pod.leaving for pod in facts.job_pods):
        return None
    tries = [job.tried for job in _list_futile(facts) if job.tried is not None]
    if facts.last_taken is not None and any(facts.last_taken >= tried.first for tried in tries):
        return None
    return taken.reason, taken.message


def _compute_pods_lost(facts: Facts) -> Verdict:
    lost = facts.list_in(RunnerPodState.LOST)
    if not lost:
        return Verdict("PodsLost", "False", "NoneLost")
    names = ", ".join(f"{pod.name} (node {pod.node})" for pod in lost[:10])
    text = "past their grace, and not gone: their nodes are lost; they go when the Node objects are deleted"
    return Verdict("PodsLost", "True", POD_LOST, f"{len(lost)} {text}: {names}")


def _truth(value: bool) -> Truth:
    return "True" if value else "False"

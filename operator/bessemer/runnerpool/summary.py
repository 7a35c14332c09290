"""The status of a pool and the events it gives rise to, from facts and what was decided. Pure."""

from __future__ import annotations

from datetime import datetime

from bessemer.conditions import Truth, Verdict, compute_conditions
from bessemer.kube.events import EventFact
from bessemer.names import build_label_value
from bessemer.runnerpool.facts import ANY_JOB, END_UNREADABLE, Facts, RunnerPodFact, RunnerPodState
from bessemer.runnerpool.plan import CollectPod, Scaling
from bessemer.runnerpool.spec import Mode
from bessemer.runnerpool.status import BackOff, RunnerPoolStatus, RunnerStatus
from bessemer.wellknown import POOL_LABEL

FIELDS = {
    "GitLabRefused": "spec.gitlab.apiTokenSecret",
    "AccessTokenRefused": "spec.gitlab.apiTokenSecret",
    "AccessTokenExpires": "spec.gitlab.apiTokenSecret",
    "GitLabNotFound": "spec.gitlab.scope",
    "GitLabUnavailable": "spec.gitlab.url",
}
"""What of the spec to look at, by what GitLab said."""
TROUBLES = frozenset({"WebhookSilent", "AccessTokenExpires"})
"""Reasons that are worth an event although the condition's status is good."""


def compute_status(
    facts: Facts, scaling: Scaling, minimum: int, back_off: BackOff | None, now: datetime
) -> RunnerPoolStatus:
    """Say how the pool is; the counts are those of the pods as they were found."""
    pool = facts.pool

    def count(state: RunnerPodState) -> int:
        return len(facts.list_in(state))

    return RunnerPoolStatus(
        observed_generation=pool.generation,
        min=minimum,
        replicas=len(facts.list_live()),
        pending=len(facts.demand.jobs),
        starting=count(RunnerPodState.STARTING),
        idle=count(RunnerPodState.IDLE),
        running=_count_running(facts),
        draining=count(RunnerPodState.DRAINING),
        selector=f"{POOL_LABEL}={build_label_value(pool.name)}",
        runner=RunnerStatus(id=facts.runner.id, token_expires_at=facts.runner.expires_at),
        back_off=back_off,
        conditions=compute_conditions(
            _compute_verdicts(facts, scaling, back_off), pool.status.conditions, pool.generation, now
        ),
    )


def _count_running(facts: Facts) -> int:
    """Count the jobs that run: pods that were sent for one, or a manager's jobs' own pods."""
    spec = facts.pool.spec
    if spec is not None and spec.mode is Mode.MANAGER:
        return sum(not pod.leaving for pod in facts.job_pods)
    return len(facts.list_in(RunnerPodState.RUNNING))


def _compute_verdicts(facts: Facts, scaling: Scaling, back_off: BackOff | None) -> list[Verdict]:
    runner, demand = facts.runner, facts.demand
    limited = _find_limit(facts, scaling)
    draining = facts.pool.deleted is not None
    return [
        _compute_ready(facts, back_off if limited and limited[0] == "BackOff" else None),
        Verdict("RunnerRegistered", _truth(runner.ready), runner.reason, _name_field(runner.reason, runner.message)),
        Verdict("DemandKnown", _truth(demand.known), demand.reason, _name_field(demand.reason, demand.message)),
        Verdict("ScalingLimited", "True", *limited) if limited else Verdict("ScalingLimited", "False", "Unlimited"),
        Verdict("Draining", "True", "Deleted", _count_left(len(facts.list_live())))
        if draining
        else Verdict("Draining", "False", "InUse"),
    ]


def _count_left(pods: int) -> str:
    return "1 pod is left" if pods == 1 else f"{pods} pods are left"


def _compute_ready(facts: Facts, back_off: BackOff | None) -> Verdict:
    """Say whether jobs get runners; ``back_off`` is what keeps pods that are wanted from being created."""
    if facts.pool.deleted is not None:
        return Verdict("Ready", "False", "Deleting", "the pool takes no more jobs")
    if facts.pool.spec is None:
        return Verdict("Ready", "False", "InvalidSpec", facts.pool.spec_error)
    if not facts.runner.ready:
        return Verdict("Ready", "False", facts.runner.reason, _name_field(facts.runner.reason, facts.runner.message))
    obstacle = _find_obstacle(facts, back_off)
    if obstacle is not None:
        return Verdict("Ready", "False", *obstacle)
    if not facts.demand.known:
        return Verdict("Ready", "True", "DemandUnknown", f"min runners are kept: {facts.demand.message}")
    return Verdict("Ready", "True", "Serving")


def _name_field(reason: str, message: str) -> str:
    return f"{FIELDS[reason]}: {message}" if reason in FIELDS else message


def _find_limit(facts: Facts, scaling: Scaling) -> tuple[str, str] | None:
    refusal = facts.refusal
    if refusal is not None and refusal.reason == "Quota":
        return refusal.reason, refusal.message
    if refusal is not None:
        return "BackOff", f"{refusal.reason}: {refusal.message}"
    return (scaling.limit.reason, scaling.limit.message) if scaling.limit else None


def _find_obstacle(facts: Facts, back_off: BackOff | None) -> tuple[str, str] | None:
    """Say why pods don't start, where none runs: with others running, it is their business."""
    if facts.list_in(RunnerPodState.RUNNING) or facts.list_in(RunnerPodState.IDLE):
        return None
    for pod in facts.list_in(RunnerPodState.STARTING):
        if pod.reason and pod.message:
            return pod.reason, f"{pod.name}: {pod.message}"
    return None if back_off is None else (back_off.cause, back_off.message)


def _truth(value: bool) -> Truth:
    return "True" if value else "False"


def compute_events(facts: Facts, scaling: Scaling, status: RunnerPoolStatus) -> list[EventFact]:
    """Give an event for each decision about scale, each job that lost its pod, and each condition that got worse."""
    events = [EventFact("Normal", reason, message) for reason, message in scaling.reasons]
    events += [
        compute_loss(action.pod) or EventFact("Warning", "PodFailed", _explain_failure(action.pod))
        for action in scaling.actions
        if isinstance(action, CollectPod) and action.pod.state is RunnerPodState.FAILED and not action.pod.recalled
    ]
    before = facts.pool.status
    for type_, bad in (
        ("Ready", "False"),
        ("RunnerRegistered", "False"),
        ("DemandKnown", "False"),
        ("ScalingLimited", "True"),
    ):
        new, old = status.condition(type_), before.condition(type_)
        if new is None or (new.status != bad and new.reason not in TROUBLES):
            continue
        if old is not None and (old.status, old.reason) == (new.status, new.reason):
            continue
        if facts.pool.deleted is None:
            events.append(EventFact("Warning", new.reason, f"{type_}: {new.message or new.reason}"))
    return events


def compute_loss(pod: RunnerPodFact) -> EventFact | None:
    """Give an event for a pod that went, or ended, without a word and may have had a job; None where none is lost.

    A runner that is killed can't tell GitLab, which takes its job for running until nothing was heard for an hour.
    Source: https://gitlab.com/gitlab-org/gitlab/-/blob/master/app/services/ci/stuck_builds/drop_running_service.rb
    """
    spoke = pod.ended and (not pod.silent or pod.reason == END_UNREADABLE)
    if spoke or pod.job is None or pod.started is None:
        return None
    job = "a job" if pod.job == ANY_JOB else f"job {pod.job} or another"
    why = f"{pod.reason}: {pod.message}".rstrip(" .:") if pod.reason else "it was killed, or lost with its node"
    text = f"{pod.name}: {why}; if it had {job}, GitLab fails that within an hour"
    return EventFact("Warning", "PodLost", text)


def _explain_failure(pod: RunnerPodFact) -> str:
    """Say what a pod ended of, and whose job that was: one that was killed could not say what it had taken."""
    jobs = f"jobs it had taken: {', '.join(map(str, pod.claimed))}" if pod.claimed else f"sent for job {pod.job}"
    return f"{pod.name}: {pod.reason or 'Error'}: {pod.message or 'no message'}; {jobs}"

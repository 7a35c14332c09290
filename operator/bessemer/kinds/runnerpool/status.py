"""The status of a pool and its Events, from facts and decision. Pure."""

from __future__ import annotations

from datetime import datetime

from bessemer.api.names import build_label_value
from bessemer.api.reasons import POD_LOST
from bessemer.api.runnerpool.spec import Mode
from bessemer.api.runnerpool.status import BackOff, RunnerPoolStatus, RunnerStatus
from bessemer.api.wellknown import POOL_LABEL
from bessemer.engine.conditions import compute_conditions
from bessemer.engine.event_facts import EventFact
from bessemer.kinds.runnerpool.facts import ANY_JOB, END_UNREADABLE, Facts, RunnerPodFact, RunnerPodState
from bessemer.kinds.runnerpool.plan import CollectPod, Scaling
from bessemer.kinds.runnerpool.verdicts import compute_verdicts

TROUBLES = frozenset({"WebhookSilent", "AccessTokenExpires"})
"""Reasons that cause an Event although the condition's status is good."""


def compute_status(
    facts: Facts, scaling: Scaling, minimum: int, back_off: BackOff | None, now: datetime
) -> RunnerPoolStatus:
    """Return the status of the pool; its counts are those of the pods as observed."""
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
            compute_verdicts(facts, scaling, minimum, back_off, now), pool.status.conditions, pool.generation, now
        ),
    )


def _count_running(facts: Facts) -> int:
    """Return the number of running jobs: pods that were sent for one, or a manager's job pods."""
    spec = facts.pool.spec
    if spec is not None and spec.mode is Mode.MANAGER:
        return sum(not pod.leaving for pod in facts.job_pods)
    return len(facts.list_in(RunnerPodState.RUNNING))


def compute_scaling_events(scaling: Scaling) -> list[EventFact]:
    """Return an Event for each scaling decision and for each failed pod."""
    events = [EventFact("Normal", why.reason, why.message) for why in scaling.reasons]
    return events + [
        compute_loss(action.pod) or EventFact("Warning", "PodFailed", _explain_failure(action.pod))
        for action in scaling.actions
        if isinstance(action, CollectPod) and action.pod.state is RunnerPodState.FAILED and not action.pod.recalled
    ]


def compute_events(facts: Facts, status: RunnerPoolStatus) -> list[EventFact]:
    """Return an Event for each pod that was lost with its node, and for each condition that became worse."""
    before = facts.pool.status
    events = _list_losses(facts)
    for type_, bad in (
        ("Ready", "False"),
        ("RunnerRegistered", "False"),
        ("DemandKnown", "False"),
        ("JobsTaken", "False"),
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


def _list_losses(facts: Facts) -> list[EventFact]:
    """Return an Event for each pod that was newly lost with its node."""
    known = facts.pool.status.condition("PodsLost")
    told = known.message if known is not None and known.status == "True" else ""
    return [
        EventFact("Warning", POD_LOST, f"{pod.name}: node {pod.node} has not ended it by the end of its grace")
        for pod in facts.list_in(RunnerPodState.LOST)
        if f" {pod.name} (" not in told
    ]


def compute_loss(pod: RunnerPodFact) -> EventFact | None:
    """Return the Event of a pod that disappeared or ended without a termination message and may have had a job.

    None if no job is lost. A killed runner can't report to GitLab, which considers its job running until it has heard
    nothing for an hour.
    Source: https://gitlab.com/gitlab-org/gitlab/-/blob/master/app/services/ci/stuck_builds/drop_running_service.rb
    """
    spoke = pod.ended and (not pod.silent or pod.reason == END_UNREADABLE)
    if spoke or pod.job is None or pod.started is None:
        return None
    job = "a job" if pod.job == ANY_JOB else f"job {pod.job} or another"
    why = f"{pod.reason}: {pod.message}".rstrip(" .:") if pod.reason else "it was killed, or lost with its node"
    text = f"{pod.name}: {why}; if it had {job}, GitLab fails that within an hour"
    return EventFact("Warning", POD_LOST, text)


def _explain_failure(pod: RunnerPodFact) -> str:
    """Return why a pod ended, and which job is affected: a killed pod could not report what it had taken."""
    jobs = f"jobs it had taken: {', '.join(map(str, pod.claimed))}" if pod.claimed else f"sent for job {pod.job}"
    return f"{pod.name}: {pod.reason or 'Error'}: {pod.message or 'no message'}; {jobs}"

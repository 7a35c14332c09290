"""Mode Manager: when a runner for all jobs is needed, and when it may be removed. Pure.

A manager that is told to end takes no further job and ends after its last one; meanwhile another one may exist. So
removing a manager never affects a running job; the only question is whether keeping it is worthwhile.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bessemer.api.reasons import QUOTA_EXCEEDED
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.api.runnerpool.status import BackOff
from bessemer.engine.plan import Reason
from bessemer.kinds.runnerpool.facts import ANY_JOB, Facts, RunnerPodFact, RunnerPodState
from bessemer.kinds.runnerpool.plan import CREATED, Action, CollectPod, CreatePod, Limit, RetirePod, Scaling
from bessemer.kinds.runnerpool.scaling.backoff import describe_cause


def decide_manager(
    facts: Facts, spec: RunnerPoolSpec, minimum: int, back_off: BackOff | None, now: datetime
) -> Scaling:
    """Return the actions: create, keep or remove the manager pod."""
    actions: list[Action] = [CollectPod(pod) for pod in facts.pods.values() if pod.ended]
    live = [pod for pod in facts.list_live() if pod.state is not RunnerPodState.DRAINING]
    current = [pod for pod in live if pod.template == facts.runner.template]
    if facts.quiet_since is None or minimum > 0:
        return _decide_busy(facts, (actions, live, current), back_off, now)
    until = facts.quiet_since + timedelta(seconds=spec.idle_seconds)
    if not live or until > now:
        return Scaling(tuple(actions), wake_after=until - now if live else None)
    actions += [RetirePod(pod, "Idle") for pod in live]
    note = Reason("Retired", f"the manager, which has had nothing to do for {spec.idle_seconds} s")
    return Scaling(tuple(actions), (note,))


def _decide_busy(
    facts: Facts,
    drawn: tuple[list[Action], list[RunnerPodFact], list[RunnerPodFact]],
    back_off: BackOff | None,
    now: datetime,
) -> Scaling:
    """Keep a manager pod that matches the current spec; one from an earlier spec is removed when the new one runs."""
    actions, live, current = drawn
    notes: list[Reason] = []
    if not current:
        limit, wake = _find_limit(facts, back_off, now)
        if limit is not None:
            return Scaling(tuple(actions), limit=limit, wake_after=wake, unserved=len(facts.demand.jobs))
        taken = {pod.slot for pod in facts.pods.values()} | facts.blocked
        actions.append(CreatePod(next(slot for slot in range(len(taken) + 1) if slot not in taken), ANY_JOB))
        why = (
            f"{len(facts.demand.jobs)} jobs wait"
            if facts.demand.jobs
            else "min is 1, or the waiting jobs are not known"
        )
        notes.append(Reason(CREATED, f"the manager, as {why}"))
    elif any(pod.state is RunnerPodState.RUNNING for pod in current):
        outdated = [pod for pod in live if pod not in current]
        actions += [RetirePod(pod, "Outdated") for pod in outdated]
        if outdated:
            notes.append(Reason("Outdated", "the manager made from an earlier spec ends its jobs and goes"))
    return Scaling(tuple(actions), tuple(notes))


def _find_limit(facts: Facts, back_off: BackOff | None, now: datetime) -> tuple[Limit | None, timedelta | None]:
    if back_off is not None and back_off.until is not None and back_off.until > now:
        text = f"the manager is not created: {describe_cause(back_off)}"
        return Limit("BackOff", text[:1024]), back_off.until - now
    if facts.headroom is not None and facts.headroom.pods < 1:
        return Limit(QUOTA_EXCEEDED, f"the manager is not created: {facts.headroom.message}"), None
    return None, None

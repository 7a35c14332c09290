"""Decides the next step of a pool: a pure function from facts and the time to a plan with its reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from bessemer.api.reasons import QUOTA_EXCEEDED
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import Mode
from bessemer.api.runnerpool.status import BackOff, RunnerPoolStatus
from bessemer.engine.event_facts import EventFact
from bessemer.engine.plan import Reason
from bessemer.kinds.runnerpool.facts import RETRY_SECONDS, DoubtfulEnd, Facts, RunnerPodFact, RunnerPodState
from bessemer.kinds.runnerpool.plan import (
    CloseVanished,
    CreatePod,
    EndJobPod,
    EndRunner,
    MeasureHeadroom,
    ScalePods,
    Scaling,
    Step,
)
from bessemer.kinds.runnerpool.pods.job_pods import list_orphans
from bessemer.kinds.runnerpool.scaling.backoff import compute_back_off, judge_doubtful
from bessemer.kinds.runnerpool.scaling.manager_mode import decide_manager
from bessemer.kinds.runnerpool.scaling.quota import QUOTA_SECONDS
from bessemer.kinds.runnerpool.scaling.scaling import decide_drain, decide_rest, decide_scaling
from bessemer.kinds.runnerpool.scaling.schedule import compute_minimum
from bessemer.kinds.runnerpool.status import compute_events, compute_status
from bessemer.kinds.runnerpool.verdicts import compute_stall

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


@dataclass(frozen=True)
class Plan(Generic[S_co]):
    """The outcome of a decision."""

    scaling: Scaling
    status: RunnerPoolStatus
    wake_after: float | None
    """Seconds until time alone makes the next pass due."""
    step: S_co | None = None
    events: tuple[EventFact, ...] = ()
    """Events to record once the status is written."""
    judged: frozenset[DoubtfulEnd] = frozenset()
    """Failures on which GitLab has been asked; if they count, they are in the status."""
    finalize: bool = False
    """The pool is deleted, no pod is left, and GitLab has deleted its runner or its deadline has passed."""

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the step is taken."""
        return self.scaling.reasons if isinstance(self.step, ScalePods) else ()


@dataclass(frozen=True)
class _Leave:
    """What happens to a deleted pool without pods."""

    step: Step | None = None
    wake_after: float | None = None
    finalize: bool = False


def begin(pool: RunnerPool, step: S) -> Plan[S]:
    """Return a step before the pods are known."""
    return Plan(Scaling(), pool.status, None, step=step)


def decide(facts: Facts, now: datetime, done: Scaling | None = None) -> Plan[Step]:
    """Return the next step and the new status.

    ``done`` is the part of this pass's pod actions that has been executed; the facts contain the pods as they were
    before.
    """
    back_off = compute_back_off(facts, now)
    minimum, change = _compute_minimum(facts, now)
    scaling = done if done is not None else _decide_scaling(facts, minimum, back_off, now)
    status = compute_status(facts, scaling, minimum, back_off, now)
    step = _choose_step(facts, scaling, is_done=done is not None)
    leave = _decide_leave(facts) if step is None else _Leave()
    wakes = [wake for wake in (scaling.wake_after, change - now if change else None) if wake is not None]
    moments = [moment for pod in facts.pods.values() for moment in (pod.lost_from, compute_stall(pod))]
    wakes += [moment - now for moment in moments if moment is not None and moment > now]
    seconds = [max(timedelta(), wake).total_seconds() for wake in wakes]
    seconds += [leave.wake_after] if leave.wake_after is not None else []
    seconds += [RETRY_SECONDS] if facts.refusal is not None else []
    seconds += [QUOTA_SECONDS] if scaling.limit is not None and scaling.limit.reason == QUOTA_EXCEEDED else []
    return Plan(
        scaling,
        status,
        min(seconds, default=None),
        step=leave.step if step is None else step,
        events=tuple(compute_events(facts, status)),
        judged=frozenset(facts.doubtful) - frozenset(judge_doubtful(facts).open),
        finalize=leave.finalize,
    )


def _compute_minimum(facts: Facts, now: datetime) -> tuple[int, datetime | None]:
    """Return the current min, and when the schedule changes it; a pool that starts nothing has none."""
    spec = facts.pool.spec
    if facts.pool.deleted is not None or spec is None or not facts.runner.ready:
        return 0, None
    return compute_minimum(spec, now)


def _decide_scaling(facts: Facts, minimum: int, back_off: BackOff | None, now: datetime) -> Scaling:
    """Return the actions on pods."""
    spec = facts.pool.spec
    if facts.pool.deleted is not None:
        scaling = decide_drain(facts, "Deleted")
    elif spec is None or not facts.runner.ready:
        # Nothing new is started; running jobs continue, and ended pods are removed.
        scaling = decide_rest(facts)
    else:
        choose = decide_manager if spec.mode is Mode.MANAGER else decide_scaling
        scaling = choose(facts, spec, minimum, back_off, now)
    orphans = list_orphans(facts.job_pods, facts.pods.values())
    if orphans:
        ended = ", ".join(pod.name for pod in orphans[:5])
        scaling = replace(
            scaling,
            actions=(*scaling.actions, *map(EndJobPod, orphans)),
            reasons=(
                *scaling.reasons,
                Reason("JobPodEnded", f"{len(orphans)} whose runner was killed: {ended}"[:1024]),
            ),
        )
    return scaling


def _choose_step(facts: Facts, scaling: Scaling, *, is_done: bool) -> Step | None:
    """Return the next step for the pods; steps that this pass has already executed are not repeated."""
    if facts.vanished:
        return CloseVanished(facts.vanished)
    if is_done or not (scaling.actions or scaling.reasons):
        return None
    if not facts.measured and any(isinstance(action, CreatePod) for action in scaling.actions):
        return MeasureHeadroom()
    return ScalePods(scaling)


def _decide_leave(facts: Facts) -> _Leave:
    """Have GitLab delete the runner of a deleted pool without pods, then finalize the pool."""
    if facts.pool.deleted is None or _list_left(facts) or list_orphans(facts.job_pods, facts.pods.values()):
        return _Leave()
    if facts.departure is None:
        return _Leave(step=EndRunner())
    return _Leave(finalize=True) if facts.departure.done else _Leave(wake_after=facts.departure.wait)


def _list_left(facts: Facts) -> list[RunnerPodFact]:
    """Return the pods that must end before the pool is finalized, without those lost with their nodes."""
    return [pod for pod in facts.pods.values() if pod.state is not RunnerPodState.LOST]

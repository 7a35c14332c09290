"""What a pool needs next: a pure function from facts and the time to a plan with its reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bessemer.api.runnerpool.spec import Mode
from bessemer.api.runnerpool.status import RunnerPoolStatus
from bessemer.kinds.runnerpool.facts import DoubtfulEnd, Facts, RunnerPodFact, RunnerPodState
from bessemer.kinds.runnerpool.plan import EndJobPod, Scaling
from bessemer.kinds.runnerpool.pods.job_pods import list_orphans
from bessemer.kinds.runnerpool.scaling.backoff import compute_back_off, judge_doubtful
from bessemer.kinds.runnerpool.scaling.manager_mode import decide_manager
from bessemer.kinds.runnerpool.scaling.scaling import decide_drain, decide_rest, decide_scaling
from bessemer.kinds.runnerpool.scaling.schedule import compute_minimum
from bessemer.kinds.runnerpool.status import compute_status
from bessemer.kinds.runnerpool.verdicts import compute_stall


@dataclass(frozen=True)
class Plan:
    """The outcome of a decision."""

    scaling: Scaling
    status: RunnerPoolStatus
    wake_after: float | None
    """Seconds until the next pass is due by time alone."""
    judged: frozenset[DoubtfulEnd] = frozenset()
    """Failures that GitLab's word is there on: they stand in the status, if they are any."""
    finalize: bool = False
    """The pool is being deleted, and no pod is left: delete its runner and finalize the pool."""


def decide(facts: Facts, now: datetime) -> Plan:
    """Decide the steps for the pods and the new status."""
    spec = facts.pool.spec
    back_off = compute_back_off(facts, now)
    if facts.pool.deleted is not None:
        scaling, minimum, change = decide_drain(facts, "Deleted"), 0, None
    elif spec is None or not facts.runner.ready:
        # Nothing new is begun; what runs goes on, and what ended is removed.
        scaling, minimum, change = decide_rest(facts), 0, None
    else:
        minimum, change = compute_minimum(spec, now)
        choose = decide_manager if spec.mode is Mode.MANAGER else decide_scaling
        scaling = choose(facts, spec, minimum, back_off, now)
    orphans = list_orphans(facts.job_pods, facts.pods.values())
    if orphans:
        ended = ", ".join(pod.name for pod in orphans[:5])
        scaling = replace(
            scaling,
            actions=(*scaling.actions, *map(EndJobPod, orphans)),
            reasons=(*scaling.reasons, ("JobPodEnded", f"{len(orphans)} whose runner was killed: {ended}"[:1024])),
        )
    status = compute_status(facts, scaling, minimum, back_off, now)
    wakes = [wake for wake in (scaling.wake_after, change - now if change else None) if wake is not None]
    moments = [moment for pod in facts.pods.values() for moment in (pod.lost_from, compute_stall(pod))]
    wakes += [moment - now for moment in moments if moment is not None and moment > now]
    return Plan(
        scaling,
        status,
        max(timedelta(), min(wakes)).total_seconds() if wakes else None,
        judged=frozenset(facts.doubtful) - frozenset(judge_doubtful(facts).open),
        finalize=facts.pool.deleted is not None and not _list_left(facts) and not orphans,
    )


def _list_left(facts: Facts) -> list[RunnerPodFact]:
    """List the pods that are waited for when a pool goes; those that were lost with their nodes are not."""
    return [pod for pod in facts.pods.values() if pod.state is not RunnerPodState.LOST]

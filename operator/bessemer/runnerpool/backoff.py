"""When pods fail before they take a job, or are refused, the next ones wait. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from bessemer.runnerpool.facts import Facts, RunnerPodFact, RunnerPodState
from bessemer.runnerpool.status import MOST_CAUSES, BackOff

FIRST = timedelta(seconds=5)
LONGEST = timedelta(minutes=5)
"""A cause that went away is noticed after that long at the most."""


def compute_back_off(facts: Facts, now: datetime) -> BackOff | None:
    """Count the failures, each cause by itself: pods that were refused, or ended without a job through a fault of
    theirs; one that took a job clears the counts, and so does another spec.
    """
    status = facts.pool.status
    previous = status.back_off if status.observed_generation == facts.pool.generation else None
    failed = [pod for pod in facts.list_in(RunnerPodState.FAILED) if not pod.may_have_had_job and not pod.recalled]
    # A quota has room again without anybody's doing, and is looked at before.
    refused = facts.refusal if facts.refusal is not None and facts.refusal.reason != "Quota" else None
    if not failed and refused is None:
        cleared = any(pod.claimed for pod in facts.pods.values() if pod.ended)
        return None if cleared else previous
    # Those that fail side by side are one failure: they were started before anything was known of it.
    if previous is not None and refused is None and all(_was_there(pod, previous) for pod in failed):
        return previous
    last = refused or failed[-1]
    cause = last.reason or "Error"
    counts = {} if previous is None else {**previous.earlier, previous.cause: previous.failures}
    failures = counts.pop(cause, 0) + 1
    earlier = dict(list(counts.items())[-MOST_CAUSES:])
    until = now + _compute_wait(failures)
    return BackOff(cause=cause, message=last.message[:1024], failures=failures, until=until, earlier=earlier)


def _compute_wait(failures: int) -> timedelta:
    wait: timedelta = min(FIRST * 2 ** min(failures - 1, 10), LONGEST)
    return wait


def _was_there(pod: RunnerPodFact, back_off: BackOff) -> bool:
    """Whether a pod was created before the back-off began, as none is while it lasts."""
    return back_off.until is not None and pod.created <= back_off.until - _compute_wait(back_off.failures)

"""When pods fail before they take a job, or are refused, the next ones wait. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from bessemer.runnerpool.facts import Facts, RunnerPodState
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
    failed = [pod for pod in facts.list_in(RunnerPodState.FAILED) if not pod.may_have_had_job]
    # A quota has room again without anybody's doing, and is looked at before.
    refused = facts.refusal if facts.refusal is not None and facts.refusal.reason != "Quota" else None
    if not failed and refused is None:
        cleared = any(pod.claimed for pod in facts.pods.values() if pod.ended)
        return None if cleared else previous
    last = refused or failed[-1]
    cause = last.reason or "Error"
    counts = {} if previous is None else {**previous.earlier, previous.cause: previous.failures}
    # Those that fail side by side are one failure: they were started before anything was known of it.
    failures = counts.pop(cause, 0) + 1
    wait = min(FIRST * 2 ** min(failures - 1, 10), LONGEST)
    earlier = dict(list(counts.items())[-MOST_CAUSES:])
    return BackOff(cause=cause, message=last.message[:1024], failures=failures, until=now + wait, earlier=earlier)

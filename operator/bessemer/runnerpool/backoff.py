"""When pods fail before they take a job, the next ones wait. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from bessemer.runnerpool.facts import Facts, RunnerPodState
from bessemer.runnerpool.status import BackOff

FIRST = timedelta(seconds=5)
LONGEST = timedelta(minutes=5)
"""A cause that went away is noticed after that long at the most."""


def compute_back_off(facts: Facts, now: datetime) -> BackOff | None:
    """Count the pods that ended without a job through a failure; one that took a job clears the count, and so does
    another spec.
    """
    status = facts.pool.status
    previous = status.back_off if status.observed_generation == facts.pool.generation else None
    failed = [pod for pod in facts.list_in(RunnerPodState.FAILED) if not pod.may_have_had_job]
    if not failed:
        cleared = any(pod.claimed for pod in facts.pods.values() if pod.ended)
        return None if cleared else previous
    last = failed[-1]
    # Those that fail side by side are one failure: they were started before anything was known of it.
    failures = (previous.failures if previous is not None else 0) + 1
    wait = min(FIRST * 2 ** min(failures - 1, 10), LONGEST)
    return BackOff(cause=last.reason or "Error", message=last.message[:1024], failures=failures, until=now + wait)

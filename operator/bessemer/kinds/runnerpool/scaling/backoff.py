"""Back-off after pods that fail before they take a job, or are refused. Pure.

A pod's termination message and exit code can be trusted only if the pod had no job: a job runs as the same user, can
write anything and end any process. So the failure of a pod that was sent for a job counts only if GitLab reports, after
the pod's end, that this job still waits: then it was not run, and wrote nothing. Pods that never ran, or were not sent
yet, certainly had no job.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bessemer.api.reasons import QUOTA_EXCEEDED
from bessemer.api.runnerpool.status import MOST_CAUSES, BackOff
from bessemer.kinds.runnerpool.facts import DoubtfulEnd, Facts, RunnerPodFact
from bessemer.pauses import compute_growing_pause

FIRST = timedelta(seconds=5)
LONGEST = timedelta(minutes=5)
"""The end of a cause is noticed after at most this time."""


@dataclass(frozen=True)
class Judgement:
    """Failures that jobs may have forged, sorted by GitLab's answer."""

    failed: tuple[RunnerPodFact, ...]
    """Their jobs still wait: they count as failures of the pool."""
    open: tuple[DoubtfulEnd, ...]
    """GitLab has not been asked yet. In all other cases the job no longer waits, or that is unknown; such failures
    don't count."""


def judge_doubtful(facts: Facts) -> Judgement:
    """Return the failures that jobs may have forged, sorted by whether the jobs of their pods still wait."""
    seen = {str(waiting.job.id): waiting.seen for waiting in facts.demand.jobs}
    listed = [end for end in facts.doubtful if end.pod.job in seen]
    return Judgement(
        failed=tuple(end.pod for end in listed if seen[end.pod.job or ""] > end.when),
        open=tuple(end for end in listed if seen[end.pod.job or ""] <= end.when),
    )


def compute_back_off(facts: Facts, now: datetime) -> BackOff | None:
    """Return the back-off, with failures counted per cause.

    Counted are pods that were refused, or ended without a job through their own fault. A pod that took a job, or a
    changed spec, resets the counts.
    """
    status = facts.pool.status
    previous = status.back_off if status.observed_generation == facts.pool.generation else None
    failed = [pod for pod in facts.pods.values() if pod.failed_without_job and not pod.doubtful]
    failed = sorted((*failed, *judge_doubtful(facts).failed), key=lambda pod: (pod.created, pod.slot))
    # A quota can have room again without any change by a user, and is checked earlier.
    refused = facts.refusal if facts.refusal is not None and facts.refusal.reason != QUOTA_EXCEEDED else None
    if not failed and refused is None:
        cleared = any(pod.claimed for pod in facts.pods.values() if pod.ended)
        return None if cleared else previous
    # Concurrent failures count as one: the pods were started before any of the failures was known.
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
    return compute_growing_pause(FIRST, failures, LONGEST)


def _was_there(pod: RunnerPodFact, back_off: BackOff) -> bool:
    """Return whether a pod was created before the back-off began; during it, none is."""
    return back_off.until is not None and pod.created <= back_off.until - _compute_wait(back_off.failures)


def describe_cause(back_off: BackOff) -> str:
    """Return why pods are not created for a while; a pod may have failed without a message."""
    return ": ".join(part for part in (back_off.cause, back_off.message) if part)

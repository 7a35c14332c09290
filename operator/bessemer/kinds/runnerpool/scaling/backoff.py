"""When pods fail before they take a job, or are refused, the next ones wait. Pure.

What a pod leaves at its end, its exit code too, is the entry point's word only where the pod had no job: a job is the
same user there, can write what it likes and end whatever runs. So the failure of a pod that was sent for a job counts
only if GitLab says, after the pod's end, that this job still waits: it was not run, and nothing of it wrote anything.
Pods that never ran, or were not sent yet, have had no job for certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bessemer.api.runnerpool.status import MOST_CAUSES, BackOff
from bessemer.engine.refusals import QUOTA_EXCEEDED
from bessemer.kinds.runnerpool.facts import DoubtfulEnd, Facts, RunnerPodFact

FIRST = timedelta(seconds=5)
LONGEST = timedelta(minutes=5)
"""A cause that went away is noticed after that long at the most."""


@dataclass(frozen=True)
class Judgement:
    """What GitLab's word makes of failures that jobs may have forged."""

    failed: tuple[RunnerPodFact, ...]
    """Their jobs wait: they are failures of the pool's."""
    open: tuple[DoubtfulEnd, ...]
    """GitLab has not been asked since. In all other cases the job does not wait any more, or that is not known; such
    failures don't count."""


def judge_doubtful(facts: Facts) -> Judgement:
    """Sort the failures that jobs may have forged by whether the jobs of their pods still wait."""
    seen = {str(waiting.job.id): waiting.seen for waiting in facts.demand.jobs}
    listed = [end for end in facts.doubtful if end.pod.job in seen]
    return Judgement(
        failed=tuple(end.pod for end in listed if seen[end.pod.job or ""] > end.when),
        open=tuple(end for end in listed if seen[end.pod.job or ""] <= end.when),
    )


def compute_back_off(facts: Facts, now: datetime) -> BackOff | None:
    """Count the failures, each cause by itself: pods that were refused, or ended without a job through a fault of
    theirs; one that took a job clears the counts, and so does another spec.
    """
    status = facts.pool.status
    previous = status.back_off if status.observed_generation == facts.pool.generation else None
    failed = [pod for pod in facts.pods.values() if pod.failed_without_job and not pod.doubtful]
    failed = sorted((*failed, *judge_doubtful(facts).failed), key=lambda pod: (pod.created, pod.slot))
    # A quota has room again without anybody's doing, and is looked at before.
    refused = facts.refusal if facts.refusal is not None and facts.refusal.reason != QUOTA_EXCEEDED else None
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

"""Which waiting jobs still need a pod. Pure.

A pod is sent for one job, but may take any other that matches: GitLab decides. Because each pod takes one job and ends,
it is enough to send as many pods as jobs wait. A pod counts for its job until GitLab must have answered it. After that
it has a job or ends, and a job that GitLab still lists as waiting needs another pod. A pod whose job is known to have
gone to another pod counts for any job that has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bessemer.kinds.runnerpool.facts import CLAIM_WINDOW, Demand, RunnerPodFact, RunnerPodState, WaitingJob


def compute_unserved(demand: Demand, pods: Iterable[RunnerPodFact], now: datetime) -> list[WaitingJob]:
    """Return the jobs for which no pod counts, in their order."""
    asked: dict[str, list[RunnerPodFact]] = {}
    for pod in pods:
        if pod.job is not None:
            asked.setdefault(pod.job, []).append(pod)
    spares = [pod for number in demand.swapped for pod in asked.get(str(number), [])]
    unserved = []
    for job in demand.jobs:
        if job.not_before is not None and job.not_before > now:
            continue
        if any(_stands_for(job, pod) for pod in asked.get(str(job.job.id), [])):
            continue
        spare = next((pod for pod in spares if _stands_for(job, pod)), None)
        if spare is None:
            unserved.append(job)
        else:
            spares.remove(spare)
    return unserved


def _stands_for(job: WaitingJob, pod: RunnerPodFact) -> bool:
    if pod.state in (RunnerPodState.RUNNING, RunnerPodState.DRAINING, RunnerPodState.LOST):
        return job.seen < compute_answered(pod)
    # A starting pod counts for its job; an ended one does until it is collected, which decides what is next.
    return pod.state is not RunnerPodState.COLLECTED


def compute_answered(pod: RunnerPodFact) -> datetime:
    """Return the time by which a running pod has its job, if it got one."""
    since = max(moment for moment in (pod.started, pod.sent, pod.created) if moment is not None)
    return since + CLAIM_WINDOW

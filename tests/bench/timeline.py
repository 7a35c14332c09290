"""What became of phase pods and when, from what a watch sees; and the figures that follow from it. Pure.

Times without a date are those of the monotonic clock, in seconds, at which the watch saw something; Kubernetes' own
timestamps have a resolution of one second (metav1.Time), so they are kept apart.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from bessemer.api.phase_contract import PhaseName
from bessemer.api.wellknown import PHASE_LABEL
from bessemer.kube.pods import PHASE_CONTAINER

ENDED = frozenset({"Succeeded", "Failed"})
"""Phases of a pod in which nothing of it runs any more."""


@dataclass(frozen=True)
class PodTimes:
    """When a phase pod was first seen in each state."""

    name: str
    phase: str
    """The build's phase that it runs."""
    created: float
    created_at: datetime
    """Its creationTimestamp."""
    running: float | None = None
    """When its phase container was seen running; where it was too quick for that, when it was seen ended."""
    ended: float | None = None
    finished_at: datetime | None = None
    """The finishedAt of its phase container."""
    succeeded: bool = False


@dataclass(frozen=True)
class Handoff:
    """From the end of a phase's pod to the next phase's pod."""

    phase: str
    next_phase: str
    seconds: float
    """As the watch saw it."""
    api_seconds: float
    """By Kubernetes' timestamps, each cut to whole seconds: a second too much or too little."""


@dataclass(frozen=True)
class Distribution:
    """What samples have in common, in their unit."""

    count: int
    p50: float
    p99: float
    maximum: float


@dataclass(frozen=True)
class PhaseSplit:
    """Where the time of one phase went, in seconds."""

    phase: str
    start: float
    """From the pod's creation until its phase container ran: scheduler, kubelet, container runtime."""
    work: float
    """From there to the pod's end, as Kubernetes told it."""


@dataclass(frozen=True)
class BuildSplit:
    """Where the time of one build went, in seconds."""

    verified: float
    """From the button to the end of Verify."""
    ready: float
    """From the button until the object said that it is Ready: Cleanup is done, too."""
    accepted: float
    """From the button until the API server had the object: kubectl."""
    operator: float
    """The operator's own share: no phase pod was there, or the last had ended and the object didn't say so yet."""
    phases: tuple[PhaseSplit, ...]


def compute_times(known: PodTimes | None, pod: Mapping[str, Any], seen: float) -> PodTimes:
    """Add what a raw pod says, seen at that time, to what is known of it."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    times = known or PodTimes(
        name=metadata["name"],
        phase=metadata["labels"][PHASE_LABEL],
        created=seen,
        created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
    )
    if times.ended is not None:
        return times
    containers = status.get("containerStatuses") or ()
    state: Mapping[str, Any] = next((found["state"] for found in containers if found["name"] == PHASE_CONTAINER), {})
    terminated = state.get("terminated")
    over = terminated is not None or status.get("phase") in ENDED
    if times.running is None and ("running" in state or over):
        times = replace(times, running=seen)
    if over:
        finished = (terminated or {}).get("finishedAt")
        succeeded = terminated is not None and terminated["exitCode"] == 0
        finished_at = datetime.fromisoformat(finished) if finished else None
        times = replace(times, ended=seen, finished_at=finished_at, succeeded=succeeded)
    return times


def compute_handoffs(pods: Iterable[PodTimes]) -> list[Handoff]:
    """Find every place in a build's life where one phase's success let the next begin.

    After Cleanup comes only what a user wants next, and after a failure a back-off: neither is a handoff.
    """
    handoffs = []
    for before, after in pairwise(sorted(pods, key=lambda pod: pod.created)):
        if before.phase == PhaseName.CLEANUP or not before.succeeded:
            continue
        if before.ended is None or before.finished_at is None:
            continue
        by_api = (after.created_at - before.finished_at).total_seconds()
        handoffs.append(Handoff(before.phase, after.phase, after.created - before.ended, by_api))
    return handoffs


def compute_distribution(samples: Sequence[float]) -> Distribution:
    """Return median, 99th percentile (interpolated) and maximum. Raises ValueError where there is no sample."""
    if not samples:
        raise ValueError("no samples")
    if len(samples) == 1:
        return Distribution(1, samples[0], samples[0], samples[0])
    percentiles = statistics.quantiles(samples, n=100, method="inclusive")
    return Distribution(len(samples), percentiles[49], percentiles[98], max(samples))


def compute_split(pods: Iterable[PodTimes], pressed: float, accepted: float, ready: float) -> BuildSplit:
    """Split a build that went through without a failure.

    Args:
        pods: its pods, all ended.
        pressed: when kubectl was started.
        accepted: when the object was seen.
        ready: when it was seen to be Ready.

    Raises:
        ValueError: a pod hasn't ended, or Verify is missing.

    """
    phases, operator, verified, free = [], 0.0, None, accepted
    for pod in sorted(pods, key=lambda pod: pod.created):
        if pod.running is None or pod.ended is None:
            raise ValueError(f"pod {pod.name} has not ended")
        phases.append(PhaseSplit(pod.phase, pod.running - pod.created, pod.ended - pod.running))
        operator += pod.created - free
        free = pod.ended
        if pod.phase == PhaseName.VERIFY:
            verified = pod.ended - pressed
    if verified is None:
        raise ValueError("no pod of Verify was seen")
    return BuildSplit(verified, ready - pressed, accepted - pressed, operator + ready - free, tuple(phases))


def compute_quantile(buckets: Sequence[tuple[float, float]], quantile: float) -> float:
    """Estimate a quantile from a Prometheus histogram, as its histogram_quantile does: linear within a bucket.

    Args:
        buckets: upper bounds with cumulative counts, ascending, the last bound infinite.
        quantile: from 0 to 1.

    Returns:
        The estimate; the highest finite bound where the quantile lies above it.

    Raises:
        ValueError: nothing was observed.

    """
    total = buckets[-1][1] if buckets else 0
    if not total:
        raise ValueError("nothing was observed")
    rank, lower, below = quantile * total, 0.0, 0.0
    for upper, count in buckets[:-1]:
        if count >= rank:
            return lower + (upper - lower) * (rank - below) / (count - below) if count > below else upper
        lower, below = upper, count
    return lower

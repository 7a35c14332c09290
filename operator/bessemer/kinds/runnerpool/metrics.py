"""Prometheus metrics of pools by namespace and pool; removed when the pool is deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bessemer.kinds.runnerpool.facts import Facts, RunnerPodFact, RunnerPodState
from bessemer.kinds.runnerpool.plan import Scaling

Key = tuple[str, str]
MOST_POOLS = 500
"""Pools beyond this number have no metrics: each has some 40 time series, and any author may create pools."""
_POOL = ("namespace", "pool")
_WAIT_BUCKETS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass
class _Waiting:
    """Waiting jobs of a pool: when each was first seen, or None once a pod has started for it."""

    seen: dict[int, datetime | None] = field(default_factory=dict)


class PoolMetrics:
    """The metrics of all pools, in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Create the metrics in the registry."""
        self._pending = Gauge(
            "bessemer_pool_pending_jobs", "Jobs that wait in GitLab for the pool", _POOL, registry=registry
        )
        self._pods = Gauge("bessemer_pool_pods", "Runner pods by state", (*_POOL, "state"), registry=registry)
        self._waits = Histogram(
            "bessemer_pool_wait_to_start_seconds",
            "From the first observation of a waiting job to the start of its pod",
            _POOL,
            registry=registry,
            buckets=_WAIT_BUCKETS,
        )
        self._decisions = Counter(
            "bessemer_pool_decisions", "Decisions about pods by reason", (*_POOL, "reason"), registry=registry
        )
        self._pools: dict[Key, _Waiting] = {}

    def note(self, key: Key, facts: Facts, scaling: Scaling, now: datetime) -> None:
        """Record what one pass has observed of a pool, and done with its pods."""
        if key not in self._pools and len(self._pools) >= MOST_POOLS:
            return
        waiting = self._pools.setdefault(key, _Waiting())
        if facts.demand.known:
            self._pending.labels(*key).set(len(facts.demand.jobs))
        else:
            self._pending.remove_by_labels(dict(zip(_POOL, key, strict=True)))
        for state in RunnerPodState:
            self._pods.labels(*key, state.value).set(len(facts.list_in(state)))
        for reason in scaling.reasons:
            self._decisions.labels(*key, reason.reason).inc()
        for wait in _find_waits(waiting.seen, facts, now):
            self._waits.labels(*key).observe(wait)

    def forget(self, key: Key) -> None:
        """Remove the metrics of a deleted pool."""
        if self._pools.pop(key, None) is None:
            return
        pool = dict(zip(_POOL, key, strict=True))
        for metric in (self._pending, self._pods, self._waits, self._decisions):
            metric.remove_by_labels(pool)


def _find_waits(seen: dict[int, datetime | None], facts: Facts, now: datetime) -> list[float]:
    """Return how many seconds jobs waited whose pods have started since the last pass; update ``seen``."""
    sent = {pod.job: pod for pod in facts.pods.values() if pod.job is not None and not pod.recalled}
    waiting = {one.job.id for one in facts.demand.jobs}
    for job in waiting:
        seen.setdefault(job, now)
    waits = []
    for job, first in list(seen.items()):
        start = _get_start(sent.get(str(job)))
        if first is not None and start is not None:
            waits.append(max((start - first).total_seconds(), 0.0))
            seen[job] = None
        if job not in waiting and str(job) not in sent and facts.demand.known:
            del seen[job]
    return waits


def _get_start(pod: RunnerPodFact | None) -> datetime | None:
    """Return when a pod began to work for the job that it was sent for: it may have waited before."""
    if pod is None or pod.started is None:
        return None
    return pod.started if pod.sent is None else max(pod.started, pod.sent)

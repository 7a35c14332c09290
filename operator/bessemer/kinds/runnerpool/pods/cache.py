"""The pods of all pools and of their jobs as they were seen last: so that a pass need not list them.

Kept up to date by watch events and by the answers to our own writes, whichever is later. A pool's pods are listed once,
when it is first looked at, and at every resync: a missed event costs time, never correctness. No pod can be created
twice, as its slot is in its name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from bessemer.engine.loop import Key
from bessemer.kinds.runnerpool.facts import JobPodFact, RunnerPodFact, RunnerPodState

PoolKey = Key


class PodCache:
    """Pods by pool and name."""

    def __init__(self) -> None:
        self._pods: defaultdict[PoolKey, dict[str, RunnerPodFact]] = defaultdict(dict)
        self._gone: defaultdict[PoolKey, dict[str, int]] = defaultdict(dict)
        self._synced: dict[PoolKey, float] = {}

    def list_pods(self, pool: PoolKey) -> dict[str, RunnerPodFact]:
        """Return the pods of a pool by their names."""
        return dict(self._pods.get(pool, {}))

    def put(self, pool: PoolKey, pod: RunnerPodFact) -> bool:
        """Record an observation of a pod, unless a later one is known; return whether it changed anything."""
        known = self._pods[pool].get(pod.name)
        if pod.version <= self._gone[pool].get(pod.name, -1) or (known is not None and known.version >= pod.version):
            return False
        if known is not None and known.uid == pod.uid and known.state is RunnerPodState.COLLECTED:
            return False  # whatever it still goes through, we are done with it
        if known is not None and known.uid == pod.uid and pod.started is None:
            # Of an evicted pod the kubelet may say that it has lost sight of the container, and not when it started.
            pod = replace(pod, started=known.started)
        self._pods[pool][pod.name] = pod
        return True

    def mark(self, pool: PoolKey, pod: RunnerPodFact) -> None:
        """Record what we did to a pod, until a later observation of it arrives."""
        known = self._pods[pool].get(pod.name)
        if known is not None and known.uid == pod.uid:
            self._pods[pool][pod.name] = pod

    def drop(self, pool: PoolKey, pod: RunnerPodFact) -> bool:
        """Forget a deleted pod; older observations that arrive later are ignored. Return whether it was known."""
        known = self._pods[pool].get(pod.name)
        if known is not None and known.uid == pod.uid:
            del self._pods[pool][pod.name]
        self._gone[pool][pod.name] = max(pod.version, self._gone[pool].get(pod.name, 0))
        return known is not None and known.uid == pod.uid and known.state is not RunnerPodState.COLLECTED

    def replace(self, pool: PoolKey, pods: list[RunnerPodFact], now: float) -> list[RunnerPodFact]:
        """Take over a list of all pods of a pool, but for what was heard since it was made; give those that are not in
        it, and whose deletion was not observed.
        """
        known, listed = self._pods[pool], {pod.name for pod in pods}
        self._pods[pool] = {name: pod for name, pod in known.items() if name in listed}
        for pod in pods:
            self.put(pool, pod)
        self._synced[pool] = now
        return [pod for pod in known.values() if pod.name not in listed and pod.state is not RunnerPodState.COLLECTED]

    def forget(self, pool: PoolKey) -> None:
        """Forget a pool that is gone."""
        self._pods.pop(pool, None)
        self._gone.pop(pool, None)
        self._synced.pop(pool, None)

    def get_age(self, pool: PoolKey, now: float) -> float | None:
        """Return the seconds since the pool's pods were listed; None where they never were."""
        synced = self._synced.get(pool)
        return None if synced is None else now - synced


@dataclass
class JobPods:
    """The pods of jobs as they were seen last, each in one pool: that which it named last."""

    _pods: defaultdict[Key, dict[str, JobPodFact]] = field(default_factory=lambda: defaultdict(dict))
    _pools: dict[Key, Key] = field(default_factory=dict)
    """Which pool's, by namespace and name of the pod."""

    def list_pods(self, pool: Key) -> list[JobPodFact]:
        """Return the pods of a pool's jobs."""
        return list(self._pods[pool].values()) if pool in self._pods else []

    def put(self, pool: Key, pod: JobPodFact) -> bool:
        """Record an observation of a pod; return whether it changed anything."""
        if self._pods.get(pool, {}).get(pod.name) == pod:
            return False
        self.drop(pool[0], pod.name)
        self._pods[pool][pod.name] = pod
        self._pools[pool[0], pod.name] = pool
        return True

    def drop(self, namespace: str, name: str) -> None:
        """Forget a pod that is gone."""
        pool = self._pools.pop((namespace, name), None)
        if pool is not None:
            del self._pods[pool][name]
            if not self._pods[pool]:
                del self._pods[pool]

    def replace(self, pool: Key, pods: Iterable[JobPodFact]) -> None:
        """Take over a list of all pods of a pool's jobs."""
        self.forget(pool)
        for pod in pods:
            self.put(pool, pod)

    def forget(self, pool: Key) -> None:
        """Forget the pods of a pool that is gone."""
        for pod in self.list_pods(pool):
            self.drop(pool[0], pod.name)

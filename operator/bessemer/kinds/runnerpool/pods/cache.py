"""The pods of a pool as last observed, so that a pass need not list them.

Updated by watch events and by the responses to our own writes, whichever is later. The pods of a pool are listed in its
first pass and at every resync: a missed event costs time, never correctness. No pod can be created twice, because its
name contains its slot.
"""

from __future__ import annotations

from dataclasses import replace

from bessemer.kinds.runnerpool.facts import RunnerPodFact, RunnerPodState


class PodCache:
    """The pods of one pool by name."""

    def __init__(self) -> None:
        self._pods: dict[str, RunnerPodFact] = {}
        self._gone: dict[str, int] = {}
        self._synced: float | None = None

    def list_pods(self) -> dict[str, RunnerPodFact]:
        """Return the pods by name."""
        return dict(self._pods)

    def put(self, pod: RunnerPodFact) -> bool:
        """Record an observation of a pod, unless a later one is known; return whether it changed anything."""
        known = self._pods.get(pod.name)
        if pod.version <= self._gone.get(pod.name, -1) or (known is not None and known.version >= pod.version):
            return False
        if known is not None and known.uid == pod.uid and known.state is RunnerPodState.COLLECTED:
            return False  # we have finished with this pod; later changes don't matter
        if known is not None and known.uid == pod.uid and pod.started is None:
            # For an evicted pod the kubelet may report that it lost the container's state, without the start time.
            pod = replace(pod, started=known.started)
        self._pods[pod.name] = pod
        return True

    def mark(self, pod: RunnerPodFact) -> None:
        """Record our own change of a pod, until a later observation of it arrives."""
        known = self._pods.get(pod.name)
        if known is not None and known.uid == pod.uid:
            self._pods[pod.name] = pod

    def drop(self, pod: RunnerPodFact) -> bool:
        """Forget a deleted pod; older observations that arrive later are ignored. Return whether it was known."""
        known = self._pods.get(pod.name)
        if known is not None and known.uid == pod.uid:
            del self._pods[pod.name]
        self._gone[pod.name] = max(pod.version, self._gone.get(pod.name, 0))
        return known is not None and known.uid == pod.uid and known.state is not RunnerPodState.COLLECTED

    def replace(self, pods: list[RunnerPodFact], now: float) -> list[RunnerPodFact]:
        """Take over a list of all pods of a pool, except where later observations are known.

        Returns the pods that are not in the list and whose deletion was not observed.
        """
        known, listed = self._pods, {pod.name for pod in pods}
        self._pods = {name: pod for name, pod in known.items() if name in listed}
        for pod in pods:
            self.put(pod)
        self._synced = now
        return [pod for pod in known.values() if pod.name not in listed and pod.state is not RunnerPodState.COLLECTED]

    def get_age(self, now: float) -> float | None:
        """Return the seconds since the pool's pods were listed; None if they never were."""
        return None if self._synced is None else now - self._synced

"""Watches the pods of a namespace from outside of the operator. Nothing is polled meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

from kubernetes.client import ApiClient, CoreV1Api

from tests.bench.builds import BenchError
from tests.bench.runners.observations import PodObservation, compute_observation
from tests.bench.watching import watch_objects

LOOK_SECONDS = 0.02
"""How often it is looked whether what is waited for is so; it adds nothing to what is measured."""
Listener = Callable[[Mapping[str, Any]], None]
"""Takes a raw pod."""
Observations = list[PodObservation]


class PodWatch:
    """What was seen of all pods of a namespace."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._observations: dict[str, PodObservation] = {}
        self._lock = threading.Lock()
        self._broken: Future[None] | None = None

    def list_observations(self) -> Observations:
        """Return all pods there were."""
        with self._lock:
            return list(self._observations.values())

    def get_of_job(self, job: int) -> PodObservation:
        """Return the pod that was sent or made for a job. Raises BenchError where there was none, or several."""
        found = [observation for observation in self.list_observations() if observation.job == job]
        if len(found) != 1:
            raise BenchError(f"job {job} should have one pod, and has {len(found)}")
        return found[0]

    def wait_until(self, what: str, is_so: Callable[[Observations], bool], seconds: float) -> None:
        """Wait until something is so of the pods. Raises BenchError where that takes too long."""
        deadline = time.monotonic() + seconds
        # Looking at thousands of pods at each event would keep the watch from its work: what is polled is our memory.
        while not is_so(self.list_observations()):
            if self._broken is not None:
                raise BenchError("the watch ended too early") from self._broken.exception()
            if time.monotonic() > deadline:
                raise BenchError(f"{what}: not within {seconds:.0f} s")
            time.sleep(LOOK_SECONDS)

    def note(self, event: str, pod: Mapping[str, Any], seen: float) -> None:
        """Note an event."""
        uid = pod["metadata"]["uid"]
        with self._lock:
            self._observations[uid] = compute_observation(self._observations.get(uid), event, pod, seen)
        for listener in self.listeners:
            listener(pod)

    def note_end(self, watch: Future[None]) -> None:
        """Note that the watch ended."""
        self._broken = watch


@contextmanager
def watch_pods(client: ApiClient, namespace: str) -> Iterator[PodWatch]:
    """Watch a namespace as long as the context lasts."""
    look = partial(CoreV1Api(client).list_namespaced_pod, namespace)
    found = PodWatch()
    with watch_objects(look, found.note, found.note_end):
        yield found

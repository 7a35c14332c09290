"""Watch a namespace's phase pods and builds, and note when each change is seen.

Nothing is polled while a build runs: on a small machine the polling itself would slow down what is measured.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from kubernetes.client import CoreV1Api, CustomObjectsApi
from kubernetes.config import new_client_from_config
from kubernetes.watch import Watch

from bessemer.api.clusterbuild.names import PLURAL
from bessemer.api.group import GROUP, VERSION
from bessemer.api.wellknown import PHASE_LABEL
from local_kubernetes.kubectl import Resource
from tests.bench.timeline import PodTimes, compute_times
from tests.support.site import is_settled

WATCH_SECONDS = 3600
"""Maximum duration of a watch, in seconds; far longer than the builds that it observes."""

Note = Callable[[Resource, float], None]
"""Takes an object and the monotonic time at which it was seen."""


class Observation:
    """What the watches have seen: ``pods`` by name, and when each build was accepted and settled, by generation."""

    def __init__(self) -> None:
        self.pods: dict[str, PodTimes] = {}
        self._accepted: dict[tuple[str, int], float] = {}
        self._settled: dict[tuple[str, int], tuple[float, Resource]] = {}
        self._changed = threading.Condition()
        self._broken: Future[None] | None = None

    def get_accepted(self, build: str, generation: int) -> float:
        """Return when a generation of a build was first seen."""
        return self._accepted[build, generation]

    def wait_until_settled(self, build: str, generation: int, seconds: float) -> tuple[float, Resource]:
        """Wait until a build has come to rest for a generation of its spec; return when that was seen, and the object.

        Raises:
            TimeoutError: it has not.
            RuntimeError: a watch ended, so that the time is not known.

        """
        key = (build, generation)
        with self._changed:
            self._changed.wait_for(lambda: key in self._settled or self._broken is not None, seconds)
            if self._broken is not None:
                raise RuntimeError("a watch ended too early") from self._broken.exception()
            if key not in self._settled:
                raise TimeoutError(f"{build}, generation {generation}: not settled within {seconds:.0f} s")
            return self._settled[key]

    def note_pod(self, pod: Resource, seen: float) -> None:
        """Note a phase pod."""
        name = pod["metadata"]["name"]
        with self._changed:
            self.pods[name] = compute_times(self.pods.get(name), pod, seen)

    def note_build(self, build: Resource, seen: float) -> None:
        """Note a build."""
        key = (build["metadata"]["name"], build["metadata"]["generation"])
        with self._changed:
            self._accepted.setdefault(key, seen)
            if is_settled(build):
                self._settled.setdefault(key, (seen, build))
                self._changed.notify_all()

    def note_end(self, watch: Future[None]) -> None:
        """Note that a watch ended."""
        with self._changed:
            self._broken = watch
            self._changed.notify_all()


@contextmanager
def observe(kubeconfig: Path, namespace: str) -> Iterator[Observation]:
    """Watch a namespace as long as the context lasts."""
    client = new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]  # the library has no types
    pods = partial(CoreV1Api(client).list_namespaced_pod, namespace, label_selector=PHASE_LABEL)
    builds = partial(CustomObjectsApi(client).list_namespaced_custom_object, GROUP, VERSION, namespace, PLURAL)
    observation = Observation()
    notes: dict[Callable[..., Any], Note] = {pods: observation.note_pod, builds: observation.note_build}
    # As JSON, since filling models would take time.
    watches: list[Any] = [Watch(return_type="object") for _ in notes]  # type: ignore[no-untyped-call]  # it has no types
    with ThreadPoolExecutor(len(watches)) as threads:
        try:
            for watch, (look, note) in zip(watches, notes.items(), strict=True):
                threads.submit(follow, watch, look, note).add_done_callback(observation.note_end)
            yield observation
        finally:
            for watch in watches:
                watch.stop()


def follow(watch: Any, look: Callable[..., Any], note: Note) -> None:
    """Hand over each object as it comes, until the watch is stopped."""
    for event in watch.stream(look, timeout_seconds=WATCH_SECONDS):
        note(event["object"], time.monotonic())

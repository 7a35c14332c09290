"""The scene of the benchmark: a cluster with Bessemer, a GitLab simulator with a trigger, and a watch of ClusterBuilds.

No phase runs: a quota lets no pod start, so what is measured is the way from GitLab to the object.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from kubernetes.client import CustomObjectsApi
from kubernetes.config import new_client_from_config

from bessemer.api.group import GROUP, VERSION
from bessemer.api.wellknown import COMMIT_ANNOTATION
from gitlab_simulator.control import Simulator
from local_kubernetes.kubectl import Kubectl
from local_kubernetes.protocol import Cluster
from tests.bench.builds import BenchError
from tests.bench.requests import Requests, count_requests, send_over_api
from tests.bench.watching import watch_objects
from tests.support.bursts import RULES
from tests.support.site import SYSTEM_NAMESPACE, install_bessemer
from tests.support.triggers import Triggers, open_triggers

LOOK_SECONDS = 0.01
"""How often it is looked whether what is waited for was seen; what is measured is when it was seen."""


class BuildWatch:
    """When each ClusterBuild was first seen with each commit."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        self._broken: Future[None] | None = None

    def note(self, event: str, build: Mapping[str, Any], seen: float) -> None:
        """Note an event."""
        metadata = build["metadata"]
        commit = (metadata.get("annotations") or {}).get(COMMIT_ANNOTATION)
        if event != "DELETED" and commit:
            with self._lock:
                self._seen.setdefault((metadata["name"], commit), seen)

    def note_end(self, watch: Future[None]) -> None:
        """Note that the watch ended."""
        self._broken = watch

    def wait_for(self, name: str, commit: str, seconds: float) -> float:
        """Return when a ClusterBuild was seen with a commit (``time.time``). Raises BenchError after too long."""
        return self.wait_until(f"{name} at {commit[:12]}", lambda seen: (name, commit) in seen, seconds)[name, commit]

    def wait_until(
        self, what: str, is_so: Callable[[Mapping[tuple[str, str], float]], bool], seconds: float
    ) -> dict[tuple[str, str], float]:
        """Wait until what was seen is enough; return it. Raises BenchError where that takes too long."""
        deadline = time.monotonic() + seconds
        while True:
            with self._lock:
                seen = dict(self._seen)
            if is_so(seen):
                return seen
            if self._broken is not None:
                raise BenchError("the watch ended too early") from self._broken.exception()
            if time.monotonic() > deadline:
                raise BenchError(f"{what}: not within {seconds:.0f} s")
            time.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Scene:
    """Where it is measured."""

    triggers: Triggers
    system: Kubectl
    watch: BuildWatch

    @property
    def gitlab(self) -> Simulator:
        """The simulator."""
        return self.triggers.gitlab

    def count_requests(self) -> Requests:
        """Ask the operator and the simulator for their counts."""
        return count_requests(self.system, self.gitlab)


@contextmanager
def open_scene(cluster: Cluster) -> Iterator[Scene]:
    """Install Bessemer, a simulator and a trigger, and watch; the namespace goes at the end."""
    install_bessemer(cluster)
    client = new_client_from_config(str(cluster.kubeconfig))  # type: ignore[no-untyped-call]  # the library has no types
    with open_triggers(cluster, "bench-triggers") as triggers:
        kubectl = triggers.kubectl
        kubectl.run("create", "quota", "no-phases", "--hard=pods=1")
        # A process of kubectl for each request would take the time that is measured.
        triggers.gitlab = Simulator(send_over_api(client, kubectl.namespace))
        triggers.apply(rules=RULES)
        triggers.add_hook()
        look = partial(
            CustomObjectsApi(client).list_namespaced_custom_object, GROUP, VERSION, kubectl.namespace, "clusterbuilds"
        )
        found = BuildWatch()
        with watch_objects(look, found.note, found.note_end):
            system = Kubectl(cluster.kubectl, cluster.kubeconfig, SYSTEM_NAMESPACE)
            yield Scene(triggers, system, found)

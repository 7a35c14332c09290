"""A small world for tests of builds: a fake Kubernetes, a clock that stands still, and a simulated kubelet."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.engine.cache import ObjectCache
from bessemer.engine.controller import Controller
from bessemer.engine.deps import Deps
from bessemer.engine.events import EventRecorder
from bessemer.engine.kind import Wake
from bessemer.engine.metrics import Metrics
from bessemer.engine.settings import Settings
from bessemer.errors import Retry
from bessemer.kinds.clusterbuild.kind import BuildKind
from bessemer.kinds.clusterbuild.observe import Reading
from bessemer.kinds.clusterbuild.plan import Plan
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kube.protocol import SECRETS, Object
from tests.fakes.kubernetes import Crash, FakeKubernetes, merge
from tests.fakes.watcher import FakeWatcher
from tests.support.checkout import ROOT

NAMESPACE = "lab"
SYSTEM = "bessemer"
EXAMPLE = ROOT / "examples" / "oxygen.yaml"
SUCCESS: dict[str, Any] = {"succeeded": True, "reason": "Succeeded", "message": "done"}


def manifest(build: str = "oxygen", /, **changes: Any) -> Object:
    """Return the example's manifest with changes to its spec, applied as a JSON merge patch."""
    raw: Object = yaml.safe_load(EXAMPLE.read_text())
    raw["metadata"]["name"] = build
    merge(changes, raw["spec"])
    return raw


@dataclass
class World:
    """The world of a test's builds."""

    time: datetime = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
    kubernetes: FakeKubernetes = field(init=False)
    deps: Deps = field(init=False)
    kind: BuildKind = field(init=False)
    controller: Controller[ClusterBuild, Reading, Plan] = field(init=False)
    watcher: FakeWatcher = field(default_factory=FakeWatcher)
    results: dict[str, Object] = field(default_factory=dict)
    """Results of phases' pods by phase name; other pods succeed."""

    def __post_init__(self) -> None:
        self.kubernetes = FakeKubernetes(now=lambda: self.time)
        asyncio.run(self.add_login_key())
        self.kubernetes.calls.clear()
        self.restart()

    async def add_login_key(self) -> None:
        """Create the Secret with the user's own key, as the example names it."""
        secret = {"metadata": {"name": "oxygen-ssh"}, "data": {"ssh-privatekey": "a2V5"}}
        await self.kubernetes.create_object(SECRETS, NAMESPACE, secret)

    def restart(self) -> None:
        """Restart the operator: only the contents of Kubernetes remain."""
        self.deps = Deps(
            kubernetes=self.kubernetes,
            settings=Settings(image="localhost/bessemer:test", namespace=SYSTEM, identity="test"),
            recorder=EventRecorder(self.kubernetes, "test", lambda: self.time),
            metrics=Metrics(CollectorRegistry()),
            now=lambda: self.time,
        )
        self.controller = Controller(self.deps, self._make)

    def _make(self, wake: Wake, objects: ObjectCache) -> BuildKind:
        self.kind = BuildKind(self.deps, self.watcher, wake, objects)
        return self.kind

    def apply(self, raw: Object) -> None:
        """Act as kubectl apply."""
        name = raw["metadata"]["name"]
        if ("clusterbuilds", NAMESPACE, name) in self.kubernetes.objects:
            self.kubernetes.objects["clusterbuilds", NAMESPACE, name]["spec"] = {}
            self.kubernetes.edit("clusterbuilds", NAMESPACE, name, {"spec": raw["spec"]})
        else:
            asyncio.run(self.kubernetes.create_object(CLUSTER_BUILDS, NAMESPACE, raw))
            self.kubernetes.calls.clear()

    def annotate(self, annotation: str, value: str | None, name: str = "oxygen") -> None:
        self.kubernetes.edit("clusterbuilds", NAMESPACE, name, {"metadata": {"annotations": {annotation: value}}})

    def delete(self, name: str = "oxygen") -> None:
        self.kubernetes.mark_deleted(self.kubernetes.objects["clusterbuilds", NAMESPACE, name])

    def vanish(self, name: str = "oxygen") -> None:
        """Remove our finalizer and delete the build, as a user may do;

        Kubernetes then deletes the objects that it owned.
        """
        raw = self.kubernetes.objects["clusterbuilds", NAMESPACE, name]
        raw["metadata"]["finalizers"] = []
        self.kubernetes.mark_deleted(raw)

    def build(self, name: str = "oxygen") -> ClusterBuild:
        return parse_cluster_build(self.kubernetes.objects["clusterbuilds", NAMESPACE, name])

    def exists(self, name: str = "oxygen") -> bool:
        return ("clusterbuilds", NAMESPACE, name) in self.kubernetes.objects

    def pods(self) -> dict[str, Object]:
        return {name: raw for (plural, _, name), raw in self.kubernetes.objects.items() if plural == "pods"}

    def started(self) -> list[str]:
        """Names of all pods ever created, in order."""
        return [name for plural, name in self.kubernetes.created if plural == "pods"]

    def step(self, name: str = "oxygen") -> float | None:
        """Run one pass as the loop would do it; a conflict only repeats it."""
        try:
            return asyncio.run(self.controller.reconcile((NAMESPACE, name), 0.0))
        except Retry:
            return 0

    def pass_time(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def set_pod(self, name: str, phase: str, result: Object | None = None, **status: Any) -> None:
        """Write the pod's status as the kubelet does: a phase and, at the end, exit code and termination message."""
        terminated: Object = {}
        if phase in ("Succeeded", "Failed") and (result is not None or phase == "Succeeded"):
            message = json.dumps(result or SUCCESS)
            code = 0 if phase == "Succeeded" else 1
            terminated = {"exitCode": code, "finishedAt": self.time.isoformat(), "message": message}
        states = [{"name": "phase", "state": {"terminated": terminated}}] if terminated else []
        patch = {"spec": {"nodeName": "node1"}, "status": {"phase": phase, "containerStatuses": states, **status}}
        self.kubernetes.edit("pods", NAMESPACE, name, patch)

    def run_pods(self) -> int:
        """End every unfinished pod as ``results`` says; return their number."""
        unfinished = [
            (name, raw)
            for name, raw in self.pods().items()
            if raw.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        ]
        for name, raw in unfinished:
            phase = raw["metadata"]["labels"]["bessemer.dev/phase"]
            result = self.results.get(phase, SUCCESS)
            if "deletionTimestamp" in raw["metadata"]:
                result = {"succeeded": False, "reason": "Terminated", "message": "stopped", "retryable": True}
                self.kubernetes.objects["pods", NAMESPACE, name]["metadata"]["deletionGracePeriodSeconds"] = 0
            self.set_pod(name, "Succeeded" if result["succeeded"] else "Failed", result)
        return len(unfinished)

    def settle(self, name: str = "oxygen", rounds: int = 40) -> None:
        """Run passes, end pods and advance the clock until nothing changes any more."""
        for _ in range(rounds):
            wake = self.step(name)
            ended = self.run_pods()
            if not self.exists(name) or (wake is None and not ended):
                return
            self.pass_time(5)
        raise AssertionError(f"not settled: {self.build(name).status}")

    def crash_once(self, call: int, *, after_effect: bool) -> bool:
        """Run one pass that dies at its n-th call, then restart; return False if the pass has fewer calls."""
        self.kubernetes.crash_at, self.kubernetes.crash_after_effect = call, after_effect
        try:
            self.step()
        except Crash:
            self.restart()
            return True
        self.kubernetes.crash_at = None
        return False

    def condition(self, type_: str, name: str = "oxygen") -> tuple[str, str, str]:
        found = self.build(name).status.condition(type_)
        assert found is not None, f"no condition {type_}"
        return found.status, found.reason, found.message

    def events(self) -> list[tuple[str, str, str]]:
        return [
            (raw["type"], raw["reason"], raw["note"])
            for (plural, _, _), raw in self.kubernetes.objects.items()
            if plural == "events"
        ]

    def leases(self) -> dict[str, str]:
        return {
            name: raw["spec"]["holderIdentity"]
            for (plural, _, name), raw in self.kubernetes.objects.items()
            if plural == "leases"
        }

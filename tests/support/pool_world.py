"""A RunnerPool in an in-memory world: Kubernetes, GitLab, a kubelet that runs pods, and a clock set by tests."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from bessemer.api.names import runner_system_id
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.engine.cache import ObjectCache
from bessemer.engine.controller import GONE, Controller
from bessemer.engine.deps import Deps
from bessemer.engine.events import EventRecorder
from bessemer.engine.loop import Key
from bessemer.engine.metrics import Metrics
from bessemer.engine.settings import Settings
from bessemer.gitlab.protocol import PendingJob, RunnerRequest, Scope, ScopeType
from bessemer.kinds.clusterbuild.management_node import find_management_node
from bessemer.kinds.runnerpool.course import Reading
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.kind import PoolKind, PoolPlan
from bessemer.kinds.runnerpool.memory import Memory
from bessemer.kinds.runnerpool.resource import RUNNER_POOLS
from bessemer.kube.protocol import SECRETS, Object
from tests.fakes.gitlab import FakeGitLab, FakeRunner
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.watcher import FakeWatcher
from tests.support.mortality import MortalClient, Mortality

KEY = ("ci", "lab")
HOSTS = "http://gitlab.example, http://new.example"
"""Hosts to which the user's Secrets may be sent, according to their annotation."""
SETTINGS = Settings(
    image="operator", namespace="bessemer", identity="me", runner_image="runner", executor_role="executor-role"
)
PROJECT = "hpc/simulations"
REQUEST = RunnerRequest(
    scope=Scope(ScopeType.PROJECT, PROJECT),
    description="given",
    marker="by hand",
    tags=frozenset({"hpc"}),
    run_untagged=False,
    protected=False,
)


def manifest(**spec: Any) -> Object:
    """Return a pool's manifest with the given changes to its spec."""
    own: dict[str, Any] = {
        "gitlab": {
            "url": "http://gitlab.example",
            "scope": {"type": "Project", "path": PROJECT},
            "apiTokenSecret": {"name": "gitlab"},
            "webhookSecret": {"name": "hook"},
        },
        "runner": {"tokenSecret": {"name": "runner"}, "tags": ["hpc"]},
    }
    return {
        "apiVersion": "bessemer.dev/v1alpha1",
        "kind": "RunnerPool",
        "metadata": {"name": KEY[1]},
        "spec": own | spec,
    }


@dataclass
class PoolWorld:
    """The whole simulated world."""

    kubernetes: FakeKubernetes
    gitlab: FakeGitLab
    clock: list[datetime]
    watcher: FakeWatcher
    woken: set[tuple[str, str]] = field(default_factory=set)
    others: dict[str, FakeGitLab] = field(default_factory=dict)
    """Further GitLabs by URL."""
    mortality: Mortality = field(default_factory=Mortality)
    """When the operator's process dies."""
    settings: Settings = SETTINGS
    controller: Controller[RunnerPool, Reading, PoolPlan] = field(init=False)
    """The controller of the operator's process."""
    kind: PoolKind = field(init=False)
    shown: dict[str, Object] = field(default_factory=dict)
    """The pods reported by the watch, by name."""

    def __post_init__(self) -> None:
        self.begin_operator()

    @property
    def deps(self) -> PoolDeps:
        """The dependencies of the kind."""
        return self.kind.deps

    @property
    def memory(self) -> Memory:
        """The in-memory state of the pool."""
        return self.deps.memories.get(KEY)

    def begin_operator(self) -> None:
        """Start a process of the operator."""
        deps = build_deps(self)
        find_node = partial(find_management_node, self.kubernetes)

        def connect(url: str, *_: Any) -> Any:
            return MortalClient(self.others.get(url, self.gitlab), self.mortality)

        def make(_wake: Any, objects: ObjectCache) -> PoolKind:
            self.kind = PoolKind(deps, self.watcher, find_node, self.woken.add, objects, connect)
            return self.kind

        self.shown.clear()
        self.controller = Controller(deps, make)
        self.controller.loops.wake = self.woken.add  # type: ignore[assignment,method-assign]  # the test makes passes

    async def restart_operator(self) -> None:
        """Replace the operator's process by a new one without any state."""
        await self.controller.close()
        self.mortality = Mortality()
        self.begin_operator()

    async def change_settings(self, **changes: Any) -> None:
        """Reinstall the operator with other settings."""
        self.settings = replace(self.settings, **changes)
        await self.restart_operator()

    async def apply(self, **spec: Any) -> None:
        """Apply the pool and the Secrets that it names."""
        if ("secrets", KEY[0], "gitlab") not in self.kubernetes.objects:
            for name, value in (("gitlab", "glpat-secret"), ("runner", "glrt-given"), ("hook", "hook-secret")):
                await self.put_secret(name, value)
        body = manifest(**spec)
        if ("runnerpools", *KEY) in self.kubernetes.objects:
            self.kubernetes.edit("runnerpools", *KEY, {"spec": body["spec"]})
        else:
            await self.kubernetes.create_object(RUNNER_POOLS, KEY[0], body)

    async def put_secret(self, name: str, value: str) -> None:
        """Write one of the user's Secrets."""
        data = {"token": base64.b64encode(value.encode()).decode()}
        if ("secrets", KEY[0], name) in self.kubernetes.objects:
            self.kubernetes.edit("secrets", KEY[0], name, {"data": data})
        else:
            metadata = {"name": name, "annotations": {"bessemer.dev/for": HOSTS}}
            await self.kubernetes.create_object(SECRETS, KEY[0], {"metadata": metadata, "data": data})
        version = self.kubernetes.objects["secrets", KEY[0], name]["metadata"]["resourceVersion"]
        self.watcher.tell(KEY[0], name, version)
        await asyncio.sleep(0)

    async def delete_secret(self, name: str) -> None:
        """Delete one of the user's Secrets."""
        await self.kubernetes.delete_object(SECRETS, KEY[0], name)
        self.watcher.tell(KEY[0], name, "gone")
        await asyncio.sleep(0)

    async def step(self) -> float | None:
        """Deliver watch events to the operator, let running polls end, and run a pass."""
        self.watch()
        wake = await self.pass_over()
        for _ in range(20):
            await asyncio.sleep(0)
        return wake

    async def pass_over(self, key: Key = KEY) -> float | None:
        """Run a pass over a pool in its cached version."""
        return await self.controller.reconcile(key, 0.0)

    async def settle(self, passes: int = 6) -> None:
        """Run several passes."""
        for _ in range(passes):
            await self.step()

    def watch(self) -> None:
        """Deliver the events of the watch streams."""
        self.hear_pool(KEY)
        pods = self.pods()
        for name in [name for name in self.shown if name not in pods]:
            self.hear_pod(GONE, self.shown.pop(name))
        for name, pod in pods.items():
            self.shown[name] = json.loads(json.dumps(pod))
            self.hear_pod(None, self.shown[name])

    def hear_pool(self, key: Key) -> None:
        """Deliver an event of a pool."""
        raw = self.kubernetes.objects.get(("runnerpools", *key))
        self.controller.hear_object(GONE if raw is None else None, key, json.loads(json.dumps(raw or {})))

    def hear_pod(self, type_: str | None, raw: Object) -> None:
        """Deliver an event of a runner pod."""
        self.controller.hear_child(self.kind.children[0], type_, KEY[0], raw)

    def queue(self, *numbers: int) -> None:
        """Create waiting jobs in GitLab, and announce them by a webhook."""
        self.gitlab.jobs += [PendingJob(number, PROJECT, frozenset({"hpc"})) for number in numbers]
        source = self.deps.sources.get_source(KEY)
        if source is not None:
            source.nudge()

    def pods(self) -> dict[str, Object]:
        """Return the pods by their names."""
        return {name: raw for (plural, _, name), raw in self.kubernetes.objects.items() if plural == "pods"}

    def start_pods(self) -> None:
        """Act as the kubelet and gitlab-runner: pods run, and those that were sent take the oldest job."""
        for name, raw in self.pods().items():
            if raw.get("status", {}).get("phase") is None:
                running = {"startedAt": self.clock[0].isoformat()}
                status = {"phase": "Running", "containerStatuses": [{"name": "runner", "state": {"running": running}}]}
                self.kubernetes.edit("pods", KEY[0], name, {"spec": {"nodeName": "n"}, "status": status})

    def end_pod(
        self,
        name: str,
        *claimed: int,
        exit_code: int = 0,
        reason: str = "Completed",
        outcome: str | None = None,
        said: str = "",
    ) -> None:
        """End a pod that took these jobs, or got none for the reason in ``said``."""
        outcome = outcome or ("JobTaken" if claimed else "NoJob")
        message = json.dumps({"outcome": outcome, "jobs": list(claimed), "said": said})
        (own,) = self.pods()[name].get("status", {}).get("containerStatuses") or [{}]
        running = own.get("state", {}).get("running") or {"startedAt": self.clock[0].isoformat()}
        terminated = running | {
            "exitCode": exit_code,
            "reason": reason,
            "message": message,
            "finishedAt": self.clock[0].isoformat(),
        }
        status = {
            "phase": "Failed" if exit_code else "Succeeded",
            "containerStatuses": [{"name": "runner", "state": {"terminated": terminated}}],
        }
        self.gitlab.jobs = [job for job in self.gitlab.jobs if job.id not in claimed]
        self.kubernetes.edit("pods", KEY[0], name, {"status": status})

    async def run_job(self, number: int) -> set[str]:
        """Apply the pool and have its first pod take a job; return the managers of its runner, of which it is one."""
        await self.apply()
        await self.settle()
        self.queue(number)
        await self.settle()
        self.start_pods()
        uid = self.kubernetes.objects["runnerpools", *KEY]["metadata"]["uid"]
        managers = self.gitlab.runners[1].managers
        managers.add(runner_system_id(uid, 0))
        return managers

    def pass_time(self, seconds: float) -> None:
        """Advance the clock."""
        self.clock[0] += timedelta(seconds=seconds)

    def status(self) -> dict[str, Any]:
        """Return the pool's status."""
        found: dict[str, Any] = self.kubernetes.objects["runnerpools", *KEY].get("status", {})
        return found

    def condition(self, type_: str) -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = next(one for one in self.status()["conditions"] if one["type"] == type_)
        return found["status"], found["reason"]

    def events(self, reason: str) -> list[str]:
        """Return the messages of the events of a reason."""
        events = (raw for (plural, _, _), raw in self.kubernetes.objects.items() if plural == "events")
        return [str(raw.get("note") or raw.get("message")) for raw in events if raw["reason"] == reason]


@asynccontextmanager
async def open_pool_world() -> AsyncIterator[PoolWorld]:
    """Yield a world; stop its polls at the end."""
    clock = [datetime(2026, 3, 2, 6, 0, tzinfo=UTC)]

    def now() -> datetime:
        return clock[0]

    gitlab = FakeGitLab(runners={1: FakeRunner(1, REQUEST, "glrt-given")})
    world = PoolWorld(FakeKubernetes(now), gitlab, clock, FakeWatcher())
    try:
        yield world
    finally:
        await world.controller.close()


def build_deps(world: PoolWorld) -> Deps:
    """Return the dependencies of a new process of the operator."""

    def now() -> datetime:
        return world.clock[0]

    kubernetes: Any = MortalClient(world.kubernetes, world.mortality)
    return Deps(
        kubernetes=kubernetes,
        settings=world.settings,
        recorder=EventRecorder(kubernetes, "me", now),
        metrics=Metrics(CollectorRegistry()),
        now=now,
    )

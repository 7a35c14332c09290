"""A RunnerPool in a world in memory: Kubernetes, GitLab, a kubelet that runs pods, and time that is told."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from bessemer.api.names import runner_system_id
from bessemer.engine.events import EventRecorder
from bessemer.engine.secretwatch import SecretWatches
from bessemer.engine.settings import Settings
from bessemer.gitlab.protocol import PendingJob, RunnerRequest, Scope, ScopeType
from bessemer.kinds.clusterbuild.management_node import find_management_node
from bessemer.kinds.runnerpool.demand.sources import Sources
from bessemer.kinds.runnerpool.deps import GitLabClients, PoolDeps
from bessemer.kinds.runnerpool.facts import NO_SLOT
from bessemer.kinds.runnerpool.metrics import PoolMetrics
from bessemer.kinds.runnerpool.pods.cache import PodCache
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kinds.runnerpool.reconcile import reconcile
from bessemer.kube.protocol import RUNNER_POOLS, SECRETS, Object
from tests.fakes.gitlab import FakeGitLab, FakeRunner
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.watcher import FakeWatcher
from tests.support.mortality import MortalClient, Mortality

KEY = ("ci", "lab")
HOSTS = "http://gitlab.example, http://new.example"
"""Where the user's Secrets may be sent, as they say themselves."""
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
    """Build a pool; what is given is laid over the spec."""
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
    """All there is."""

    kubernetes: FakeKubernetes
    gitlab: FakeGitLab
    clock: list[datetime]
    watcher: FakeWatcher
    woken: set[tuple[str, str]] = field(default_factory=set)
    others: dict[str, FakeGitLab] = field(default_factory=dict)
    """More GitLabs, by their URLs."""
    mortality: Mortality = field(default_factory=Mortality)
    """When the operator's process dies."""
    deps: PoolDeps = field(init=False)
    """What the operator's process has."""

    def __post_init__(self) -> None:
        self.deps = build_deps(self)

    async def restart_operator(self) -> None:
        """Have another process take over, which knows nothing of what the last one knew."""
        await close_deps(self.deps)
        self.mortality = Mortality()
        self.deps = build_deps(self)

    async def apply(self, **spec: Any) -> None:
        """Apply the pool, and the Secrets that it names."""
        if ("secrets", KEY[0], "gitlab") not in self.kubernetes.objects:
            for name, value in (("gitlab", "glpat-secret"), ("runner", "glrt-given"), ("hook", "hook-secret")):
                await self.put_secret(name, value)
        body = manifest(**spec)
        if ("runnerpools", *KEY) in self.kubernetes.objects:
            self.kubernetes.edit("runnerpools", *KEY, {"spec": body["spec"]})
        else:
            await self.kubernetes.create_object(RUNNER_POOLS, KEY[0], body)

    async def put_secret(self, name: str, value: str) -> None:
        """Write a Secret of the user's."""
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
        """Delete a Secret of the user's."""
        await self.kubernetes.delete_object(SECRETS, KEY[0], name)
        self.watcher.tell(KEY[0], name, "gone")
        await asyncio.sleep(0)

    async def step(self) -> float | None:
        """Tell the operator what it watches, let polls under way end, and make a pass."""
        self.watch()
        wake = await reconcile(self.deps, KEY, 0.0)
        for _ in range(20):
            await asyncio.sleep(0)
        return wake

    async def settle(self, passes: int = 6) -> None:
        """Make some passes."""
        for _ in range(passes):
            await self.step()

    def watch(self) -> None:
        """Bring what the watch streams would."""
        raw = self.kubernetes.objects.get(("runnerpools", *KEY))
        if raw is None:
            self.deps.pools.pop(KEY, None)
        else:
            self.deps.pools[KEY] = json.loads(json.dumps(raw))
        known = self.deps.pods.list_pods(KEY)
        for name, pod in known.items():
            if ("pods", KEY[0], name) not in self.kubernetes.objects and self.deps.pods.drop(KEY, pod):
                self.deps.vanished.setdefault(KEY, []).append(pod)
        for pod in map(parse_runner_pod, self.pods().values()):
            if pod.slot != NO_SLOT:
                self.deps.pods.put(KEY, pod)

    def queue(self, *numbers: int) -> None:
        """Have jobs wait in GitLab; say so by a webhook."""
        self.gitlab.jobs += [PendingJob(number, PROJECT, frozenset({"hpc"})) for number in numbers]
        source = self.deps.sources.get_source(KEY)
        if source is not None:
            source.nudge()

    def pods(self) -> dict[str, Object]:
        """Give the pods by their names."""
        return {name: raw for (plural, _, name), raw in self.kubernetes.objects.items() if plural == "pods"}

    def start_pods(self) -> None:
        """Be the kubelet, and gitlab-runner: pods run, and those that were sent take the oldest job."""
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
        """End a pod that took these jobs, or got none for what its runner said."""
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
        """Apply the pool and have its first pod take a job; give the managers of its runner, of which it is one."""
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
        """Let time go by."""
        self.clock[0] += timedelta(seconds=seconds)

    def status(self) -> dict[str, Any]:
        """Give the pool's status."""
        found: dict[str, Any] = self.kubernetes.objects["runnerpools", *KEY].get("status", {})
        return found

    def condition(self, type_: str) -> tuple[str, str]:
        """Give status and reason of a condition."""
        found = next(one for one in self.status()["conditions"] if one["type"] == type_)
        return found["status"], found["reason"]

    def events(self, reason: str) -> list[str]:
        """Give the messages of the events of a reason."""
        events = (raw for (plural, _, _), raw in self.kubernetes.objects.items() if plural == "events")
        return [str(raw.get("note") or raw.get("message")) for raw in events if raw["reason"] == reason]


@asynccontextmanager
async def open_pool_world() -> AsyncIterator[PoolWorld]:
    """Make a world; its polls end with it."""
    clock = [datetime(2026, 3, 2, 6, 0, tzinfo=UTC)]

    def now() -> datetime:
        return clock[0]

    gitlab = FakeGitLab(runners={1: FakeRunner(1, REQUEST, "glrt-given")})
    world = PoolWorld(FakeKubernetes(now), gitlab, clock, FakeWatcher())
    try:
        yield world
    finally:
        await close_deps(world.deps)


def build_deps(world: PoolWorld) -> PoolDeps:
    """Give what a process of the operator has that has just begun."""

    def guard(client: Any) -> Any:
        return MortalClient(client, world.mortality)

    def now() -> datetime:
        return world.clock[0]

    kubernetes = guard(world.kubernetes)
    return PoolDeps(
        kubernetes=kubernetes,
        settings=Settings(
            image="operator", namespace="bessemer", identity="me", runner_image="runner", executor_role="executor-role"
        ),
        recorder=EventRecorder(kubernetes, "me", now),
        now=now,
        gitlab_clients=GitLabClients(lambda url, *_: guard(world.others.get(url, world.gitlab))),
        sources=Sources(now, world.woken.add),
        pods=PodCache(),
        secrets=SecretWatches(world.watcher, world.woken.add),
        find_management_node=partial(find_management_node, world.kubernetes),
        metrics=PoolMetrics(CollectorRegistry()),
    )


async def close_deps(deps: PoolDeps) -> None:
    """End what a process has under way in the background."""
    await deps.secrets.close()
    await deps.sources.close()
    await deps.gitlab_clients.close()

"""A BuildTrigger in an in-memory world: Kubernetes, a repository in GitLab, webhooks, and a clock set by tests."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.engine.cache import ObjectCache
from bessemer.engine.controller import GONE, Controller
from bessemer.engine.deps import Deps
from bessemer.engine.events import EventRecorder
from bessemer.engine.loop import Key
from bessemer.engine.metrics import Metrics
from bessemer.engine.settings import Settings
from bessemer.gitlab.jobproofs import ProofClient
from bessemer.gitlab.projectclient import ProjectClient
from bessemer.gitlab.protocol import Comment
from bessemer.kinds.buildtrigger.facts import Facts
from bessemer.kinds.buildtrigger.kind import Connectors, TriggerKind
from bessemer.kinds.buildtrigger.plan import Plan
from bessemer.kinds.buildtrigger.report.decide import FIRST_SECONDS
from bessemer.kinds.buildtrigger.resource import BUILD_TRIGGERS
from bessemer.kube.pods import PHASE_CONTAINER
from bessemer.kube.protocol import SECRETS, Object
from bessemer.web.app import add_public_routes
from tests.fakes.gitlab import FakeRepository
from tests.fakes.hooklog import FakeHookLog
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.reports import FakeReports
from tests.fakes.watcher import FakeWatcher
from tests.support import world as builds
from tests.support.issuer import Issuer, IssuerTransport
from tests.support.mortality import MortalClient, Mortality

KEY = ("lab", "site")
PROJECT = "hpc/clusters"
URL = "http://gitlab.example"
MAIN = "refs/heads/main"
PATH = "clusters/oxygen.yaml"
SETTINGS = Settings(image="operator", namespace="bessemer", identity="me")
ALLOW = {
    "machines": ["oxygen[1-65]"],
    "macs": ["52:54:00"],
    "networks": ["10.77.0.0/24", "10.141.0.0/16"],
    "sshHosts": ["rack"],
    "bootHosts": ["rack", "10.77.0.1"],
    "bootUsers": ["root"],
    "bootDirectories": ["/srv/http/boot"],
    "power": ["rack", "10.77.0.254"],
    "images": ["http://10.77.0.1/images/", "http://10.77.0.1/kernel"],
    "services": ["trino"],
    "secrets": ["oxygen-ssh"],
}


def trigger_manifest(**spec: Any) -> Object:
    """Return a trigger's manifest with the given changes to its spec."""
    own: dict[str, Any] = {
        "gitlab": {
            "url": URL,
            "project": PROJECT,
            "apiTokenSecret": {"name": "gitlab"},
            "webhookSecret": {"name": "hook"},
        },
        "rules": [{"name": "main", "push": {"branches": ["main"]}}],
        "manifests": ["clusters/*.yaml"],
        "allow": ALLOW,
    }
    metadata = {"name": KEY[1], "namespace": KEY[0]}
    return {"apiVersion": "bessemer.dev/v1alpha1", "kind": "BuildTrigger", "metadata": metadata, "spec": own | spec}


def build_manifest(name: str = "oxygen", **changes: Any) -> bytes:
    """Return a file with a ClusterBuild."""
    return yaml.safe_dump(builds.manifest(name, **changes)).encode()


def name_commit(text: str) -> str:
    """Return the name of the commit that a test calls by a word."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def push_body(commit: str | None, ref: str = MAIN, before: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return the body of a push webhook, with the members that GitLab sends."""
    zeros = "0" * 40
    body = {
        "object_kind": "tag_push" if ref.startswith("refs/tags/") else "push",
        "before": before or zeros,
        "after": commit or zeros,
        "ref": ref,
        "ref_protected": True,
        "checkout_sha": commit,
        "user_username": "ada",
        "project_id": 7,
        "project": {"id": 7, "path_with_namespace": PROJECT},
        "commits": [{"id": commit, "message": "a change", "added": [PATH], "modified": [], "removed": []}],
    }
    return body | changes


@dataclass
class TriggerWorld:
    """The whole simulated world."""

    kubernetes: FakeKubernetes
    repository: FakeRepository
    reports: FakeReports
    clock: list[datetime]
    hooks: FakeHookLog = field(default_factory=lambda: FakeHookLog(PROJECT))
    issuer: Issuer = field(default_factory=Issuer)
    watcher: FakeWatcher = field(default_factory=FakeWatcher)
    mortality: Mortality = field(default_factory=Mortality)
    woken: set[Key] = field(default_factory=set)
    controller: Controller[BuildTrigger, Facts, Plan] = field(init=False)
    kind: TriggerKind = field(init=False)
    deps: Deps = field(init=False)

    def __post_init__(self) -> None:
        self.begin_operator()

    def begin_operator(self) -> None:
        """Start a process of the operator."""
        kubernetes: Any = MortalClient(self.kubernetes, self.mortality)
        self.deps = Deps(
            kubernetes=kubernetes,
            settings=SETTINGS,
            recorder=EventRecorder(kubernetes, "me", self.now),
            metrics=Metrics(CollectorRegistry()),
            now=self.now,
        )

        transport: Any = IssuerTransport(self.issuer)
        connect = Connectors(
            gitlabs=lambda *_: self._connect(),
            proofs=lambda *_: ProofClient(transport, self.clock[0].timestamp),
        )

        def make(_wake: Any, objects: ObjectCache) -> TriggerKind:
            self.kind = TriggerKind(self.deps, self.watcher, self.woken.add, objects, connect)
            return self.kind

        self.controller = Controller(self.deps, make)
        self.controller.loops.wake = self.woken.add  # type: ignore[assignment,method-assign]  # the test makes passes

    def _connect(self) -> ProjectClient:
        clients: tuple[Any, ...] = (self.repository, self.reports, self.hooks)  # as they are now: tests replace them
        return ProjectClient(*(MortalClient(one, self.mortality) for one in clients))

    async def restart_operator(self) -> None:
        """Replace the operator's process by a new one without any state."""
        await self.controller.close()
        self.mortality = Mortality()
        self.begin_operator()
        self.hear()

    def now(self) -> datetime:
        """Return the time of the world."""
        return self.clock[0]

    def pass_time(self, seconds: float) -> None:
        """Advance the clock."""
        self.clock[0] += timedelta(seconds=seconds)

    async def apply(self, **spec: Any) -> None:
        """Apply the trigger and the Secrets that it names."""
        for name, value in (("gitlab", "glpat-secret"), ("hook", "hook-secret")):
            if ("secrets", KEY[0], name) not in self.kubernetes.objects:
                await self.put_secret(name, value)
        body = trigger_manifest(**spec)
        known = self.kubernetes.objects.get(("buildtriggers", *KEY))
        if known is not None:
            gone = dict.fromkeys(known["spec"].keys() - body["spec"].keys())
            self.kubernetes.edit("buildtriggers", *KEY, {"spec": gone | body["spec"]})
        else:
            await self.kubernetes.create_object(BUILD_TRIGGERS, KEY[0], body)
        self.hear()

    async def put_secret(self, name: str, value: str) -> None:
        """Write one of the user's Secrets."""
        data = {"token": base64.b64encode(value.encode()).decode()}
        metadata = {"name": name, "annotations": {"bessemer.dev/for": URL}}
        await self.kubernetes.create_object(SECRETS, KEY[0], {"metadata": metadata, "data": data})

    def push(self, word: str, ref: str = MAIN, message: str = "a change", **files: bytes | None) -> str:
        """Push a commit that changes ``oxygen=content`` and so on; None removes a file. Return its name."""
        before = self.repository.commits.get(self.repository.heads.get(ref, ""), {})
        changed = {f"clusters/{name}.yaml": content for name, content in files.items()}
        after = {path: content for path, content in {**before, **changed}.items() if content is not None}
        self.repository.push(ref, name_commit(word), after, message)
        self.reports.commits.add(name_commit(word))
        return name_commit(word)

    async def deliver(self, body: Any, headers: dict[str, str] | None = None, key: Key = KEY) -> tuple[int, str]:
        """Deliver a webhook; return the status and text of the answer."""
        app = web.Application()
        add_public_routes(app, self.kind.routes.public, self.deps.metrics)
        async with TestClient(TestServer(app)) as client:
            sent = {"X-Gitlab-Token": "hook-secret"} if headers is None else headers
            answer = await client.post(f"/v1/triggers/{key[0]}/{key[1]}", json=body, headers=sent)
            self.pass_time(FIRST_SECONDS)
            return answer.status, (await answer.text()).strip()

    async def receive(self, body: dict[str, Any]) -> str:
        """Take a webhook a second later, and do what follows of it; return the outcome."""
        self.pass_time(1)
        outcome = await self.take(body)
        await self.settle()
        return outcome

    async def take(self, body: dict[str, Any], seconds: float = FIRST_SECONDS) -> str:
        """Take a webhook as the handler does once the sender is known; return the outcome.

        So many seconds pass then: by default until GitLab is told of the event. A comment is one that GitLab has,
        unless the test has written another one of its number before.
        """
        if body["object_kind"] == "note":
            self._write_comment(body)
        reader = self.kind.receiver.make_reader()
        reader.feed(json.dumps(body).encode())
        outcome = (await self.kind.receiver.take(KEY, reader)).outcome
        self.pass_time(seconds)
        return outcome

    def _write_comment(self, body: dict[str, Any]) -> None:
        comment, request = body["object_attributes"], body["merge_request"]
        known = Comment(body["user"]["id"], comment["note"], request["last_commit"]["id"])
        place = (f"refs/merge-requests/{request['iid']}/head", comment["id"])
        self.find_repository(body["project"]["path_with_namespace"]).comments.setdefault(place, known)

    def find_repository(self, _project: str) -> FakeRepository:
        """Return the repository of a project."""
        return self.repository

    async def settle(self, passes: int = 4) -> None:
        """Run several passes."""
        for _ in range(passes):
            await self.step()

    async def step(self) -> float | None:
        """Deliver the watch's events and run a pass."""
        self.hear()
        return await self.controller.reconcile(KEY, 0.0)

    def hear(self) -> None:
        """Deliver the watch's event of the trigger."""
        raw = self.kubernetes.objects.get(("buildtriggers", *KEY))
        self.controller.hear_object(GONE if raw is None else None, KEY, json.loads(json.dumps(raw or {})))

    def work(self, name: str = "oxygen", **phases: str) -> None:
        """Act as the kind ClusterBuild: a build goes on, and its phases are in these states."""
        raw = self.kubernetes.objects["clusterbuilds", KEY[0], name]
        status = {
            "observedGeneration": raw["metadata"]["generation"],
            "endTime": None,
            "handledRetry": raw["metadata"].get("annotations", {}).get("bessemer.dev/retry"),
            "phases": [
                {"name": phase, "state": state, "attempt": 1, "startTime": "2026-03-02T06:00:00Z"}
                for phase, state in phases.items()
            ],
        }
        self.kubernetes.edit("clusterbuilds", KEY[0], name, {"status": status})

    def log(self, pod: str, *lines: str, container: str = PHASE_CONTAINER) -> None:
        """Write lines into the log of a pod, a millisecond apart."""
        log = self.kubernetes.logs.setdefault((KEY[0], pod, container), [])
        log += [(self.now() + timedelta(milliseconds=len(log) + number), line) for number, line in enumerate(lines)]

    def end_build(self, name: str = "oxygen", *, ready: bool = True, reason: str = "") -> None:
        """Act as the kind ClusterBuild: a build ends."""
        raw = self.kubernetes.objects["clusterbuilds", KEY[0], name]
        moment = self.now().isoformat()
        condition = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "reason": reason or ("Verified" if ready else "InstallFailed"),
            "message": "all jobs are right" if ready else "a node failed",
            "lastTransitionTime": moment,
        }
        status = {
            "observedGeneration": raw["metadata"]["generation"],
            "endTime": moment,
            "handledRetry": raw["metadata"].get("annotations", {}).get("bessemer.dev/retry"),
            "conditions": [condition],
        }
        self.kubernetes.edit("clusterbuilds", KEY[0], name, {"status": status})

    def build(self, name: str = "oxygen") -> Object | None:
        """Return a ClusterBuild."""
        return self.kubernetes.objects.get(("clusterbuilds", KEY[0], name))

    def commit_of(self, name: str = "oxygen") -> str | None:
        """Return the commit for which a ClusterBuild was last changed."""
        raw = self.build(name)
        return raw["metadata"]["annotations"]["bessemer.dev/commit"] if raw is not None else None

    def records(self) -> dict[str, Object]:
        """Return the records of events by name."""
        return {name: raw for (plural, _, name), raw in self.kubernetes.objects.items() if plural == "configmaps"}

    def status(self) -> dict[str, Any]:
        """Return the trigger's status."""
        found: dict[str, Any] = self.kubernetes.objects["buildtriggers", *KEY].get("status", {})
        return found

    def states(self) -> list[tuple[str, str]]:
        """Return state and reason of the events, the earliest first."""
        return [(event["state"], event.get("reason", "")) for event in reversed(self.status().get("events", []))]

    def condition(self, type_: str) -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = next(one for one in self.status()["conditions"] if one["type"] == type_)
        return found["status"], found["reason"]


@asynccontextmanager
async def open_trigger_world() -> AsyncIterator[TriggerWorld]:
    """Yield a world; close the operator's process at the end."""
    clock = [datetime(2026, 3, 2, 6, 0, tzinfo=UTC)]
    world = TriggerWorld(FakeKubernetes(lambda: clock[0]), FakeRepository(PROJECT), FakeReports(PROJECT), clock)
    try:
        yield world
    finally:
        await world.controller.close()

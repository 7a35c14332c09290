"""The kind BuildTrigger, as an implementation of the engine's interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from bessemer.api.buildtrigger.resource import KIND, BuildTrigger, parse_build_trigger
from bessemer.api.names import build_label_value
from bessemer.api.wellknown import TRIGGER_FINALIZER, TRIGGER_LABEL
from bessemer.engine import deps as engine
from bessemer.engine.cache import ObjectCache
from bessemer.engine.kind import Child, Kind, Model, Route, Routes, Wake
from bessemer.engine.loop import Key
from bessemer.engine.ownkey import OwnKey
from bessemer.engine.secretwatch import SecretWatches
from bessemer.gitlab.address import parse_hosts
from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.clients import ClientPool
from bessemer.gitlab.jobproofs import JobProofs, ProofClient
from bessemer.gitlab.projectclient import ProjectClient, build_project_client
from bessemer.kinds.buildtrigger.decide import decide
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.execute import perform
from bessemer.kinds.buildtrigger.facts import Facts
from bessemer.kinds.buildtrigger.job.receiver import build_job_routes
from bessemer.kinds.buildtrigger.metrics import TriggerMetrics
from bessemer.kinds.buildtrigger.observe import get_facts
from bessemer.kinds.buildtrigger.plan import Plan
from bessemer.kinds.buildtrigger.resource import BUILD_TRIGGERS, CLUSTER_BUILDS
from bessemer.kinds.buildtrigger.webhooks import PATH, build_target
from bessemer.kube.protocol import Object
from bessemer.kube.watch import Watcher
from bessemer.web.hooks import HookReceiver

MODEL = Model(KIND, BUILD_TRIGGERS, TRIGGER_FINALIZER, parse_build_trigger, cached=True)
C = TypeVar("C")
Connect = Callable[[str, str | None, str | None], C]
"""Creates a client for the GitLab at a URL, with an optional access token and PEM bundle of certificate authorities."""


@dataclass(frozen=True)
class Connectors:
    """How clients of GitLab are created."""

    gitlabs: Connect[ProjectClient]
    proofs: Connect[JobProofs]


class TriggerKind(Kind[BuildTrigger, Facts, Plan]):
    """Triggers: events arrive by webhooks, and lead to ClusterBuilds."""

    model = MODEL

    def __init__(
        self, deps: engine.Deps, watcher: Watcher, wake: Wake, objects: ObjectCache, connect: Connectors | None = None
    ) -> None:
        connect = connect or _build_connectors(deps.settings.gitlab_allowed_hosts)
        self.deps = TriggerDeps(
            kubernetes=deps.kubernetes,
            settings=deps.settings,
            recorder=deps.recorder,
            metrics=deps.metrics,
            now=deps.now,
            own_key=OwnKey(deps.kubernetes, deps.settings.namespace),
            gitlabs=ClientPool(connect.gitlabs),
            proofs=ClientPool(connect.proofs),
            trigger_metrics=TriggerMetrics(deps.metrics.registry),
            secrets=SecretWatches(watcher, wake),
            wake=wake,
            triggers=objects,
        )
        self.children = (Child(CLUSTER_BUILDS, self._hear_build, TRIGGER_LABEL),)
        self.receiver = build_target(self.deps)
        self.routes = Routes(
            public=(Route(PATH, HookReceiver(self.deps, self.receiver).post), *build_job_routes(self.deps))
        )

    async def observe(self, resource: BuildTrigger, woken: float) -> Facts:  # noqa: ARG002  no metric needs it
        """Read all facts about a trigger."""
        return await get_facts(self.deps, resource)

    def decide(self, facts: Facts, now: datetime) -> Plan:
        """Return the next step and the status."""
        return decide(facts, now)

    async def execute(self, facts: Facts, plan: Plan) -> Facts:
        """Execute a step."""
        return await perform(self.deps, facts, plan.step)

    async def forget(self, key: Key) -> None:
        """Forget a deleted trigger and close its connections."""
        self.deps.memories.forget(key)
        self.deps.secrets.leave(key)
        await self.deps.gitlabs.leave(key)
        await self.deps.proofs.leave(key)

    async def close(self) -> None:
        """End watches and connections."""
        await self.deps.secrets.close()
        await self.deps.gitlabs.close()
        await self.deps.proofs.close()

    def _hear_build(self, _type: str | None, namespace: str, raw: Object) -> Iterable[Key]:
        """Return the trigger to which a ClusterBuild belongs."""
        labels = raw["metadata"].get("labels")
        value = labels.get(TRIGGER_LABEL) if isinstance(labels, dict) else None
        found = (key for key in self.deps.triggers.list_keys(namespace) if build_label_value(key[1]) == value)
        return tuple(found)


def _build_connectors(allowed_hosts: str) -> Connectors:
    connector = GitLabConnector(parse_hosts(allowed_hosts))
    return Connectors(
        gitlabs=lambda url, token, ca: build_project_client(connector.open_transport(url, token, ca)),
        proofs=lambda url, token, ca: ProofClient(connector.open_transport(url, token, ca)),
    )

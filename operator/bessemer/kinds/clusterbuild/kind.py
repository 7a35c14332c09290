"""The kind ClusterBuild, as an implementation of the engine's interface."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from bessemer.api.clusterbuild.names import KIND
from bessemer.api.clusterbuild.resource import ClusterBuild, parse_cluster_build
from bessemer.api.wellknown import BUILD_FINALIZER, BUILD_LABEL
from bessemer.engine import deps as engine
from bessemer.engine.cache import ObjectCache
from bessemer.engine.kind import Child, Kind, Model, Route, Routes, Wake
from bessemer.engine.loop import Key
from bessemer.engine.memory import Memories
from bessemer.engine.ownkey import OwnKey
from bessemer.engine.secretwatch import SecretWatches
from bessemer.kinds.clusterbuild.decide import decide
from bessemer.kinds.clusterbuild.deps import Deps
from bessemer.kinds.clusterbuild.execute import finish, forget_orphans, perform
from bessemer.kinds.clusterbuild.leases import delete_claims
from bessemer.kinds.clusterbuild.observe import Reading, get_reading
from bessemer.kinds.clusterbuild.plan import Plan
from bessemer.kinds.clusterbuild.posts import PATH, ProgressPosts
from bessemer.kinds.clusterbuild.progress import Memory
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kube.podmodel import read_pod
from bessemer.kube.protocol import PODS, Object
from bessemer.kube.watch import Watcher

MODEL = Model(KIND, CLUSTER_BUILDS, BUILD_FINALIZER, parse_cluster_build, wakes_others=True)


class BuildKind(Kind[ClusterBuild, Reading, Plan]):
    """Builds: each pass reads the build, its pods, its Leases and its Secret, and advances one phase."""

    model = MODEL

    def __init__(self, deps: engine.Deps, watcher: Watcher, wake: Wake, _objects: ObjectCache) -> None:
        self.deps = Deps(
            kubernetes=deps.kubernetes,
            settings=deps.settings,
            recorder=deps.recorder,
            metrics=deps.metrics,
            now=deps.now,
            own_key=OwnKey(deps.kubernetes, deps.settings.namespace),
            memories=Memories(Memory),
            secrets=SecretWatches(watcher, wake),
        )
        self.children = (Child(PODS, _hear_pod, BUILD_LABEL),)
        self.routes = Routes(internal=(Route(PATH, ProgressPosts(self.deps.memories, wake).post),))

    async def observe(self, resource: ClusterBuild, woken: float) -> Reading:
        """Read everything that belongs to a build."""
        reading = await get_reading(self.deps, resource, woken)
        self.deps.memories.get((resource.namespace, resource.name)).know(resource.uid, reading.progress_token)
        return reading

    def decide(self, facts: Reading, now: datetime) -> Plan:
        """Return the next step of the build."""
        return decide(facts.facts, now)

    async def execute(self, facts: Reading, plan: Plan) -> Reading:
        """Execute a step."""
        return replace(facts, facts=await perform(self.deps, facts, plan))

    async def finish(self, facts: Reading, plan: Plan) -> float | None:
        """Release pods and machines whose results and release are recorded in the status.

        Secrets for which the build waits are watched, so that it continues as soon as they can be used.
        """
        await finish(self.deps, facts, plan)
        build = facts.facts.build
        awaited = facts.facts.list_awaited_secrets() if plan.wake_after is not None else ()
        self.deps.secrets.use((build.namespace, build.name), awaited)
        return None

    async def forget(self, key: Key) -> None:
        """Release the pods and the machines of a deleted build."""
        self.deps.memories.forget(key)
        self.deps.secrets.leave(key)
        await forget_orphans(self.deps, *key)
        await delete_claims(self.deps, *key)

    async def close(self) -> None:
        """End the watches of Secrets."""
        await self.deps.secrets.close()


def _hear_pod(_type: str | None, namespace: str, raw: Object) -> Iterable[Key]:
    """Return the build that a pod claims to belong to."""
    owner = read_pod(raw).metadata.controller
    return [(namespace, owner.name)] if owner.kind == KIND else []

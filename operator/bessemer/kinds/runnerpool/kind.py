"""The kind RunnerPool, as an implementation of the engine's interface."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bessemer.api.runnerpool.names import KIND
from bessemer.api.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.api.wellknown import POOL_FINALIZER, POOL_LABEL, RUNNER_UID_LABEL
from bessemer.engine import deps as engine
from bessemer.engine.cache import ObjectCache
from bessemer.engine.controller import GONE
from bessemer.engine.kind import Child, Kind, Model, Route, Routes, Wake
from bessemer.engine.loop import Key
from bessemer.engine.secretwatch import SecretWatches
from bessemer.gitlab.address import parse_hosts
from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.clients import ClientPool
from bessemer.kinds.runnerpool.course import Reading, RunnerStep, decide_step
from bessemer.kinds.runnerpool.decide import Plan
from bessemer.kinds.runnerpool.demand.sources import Sources
from bessemer.kinds.runnerpool.deps import Connect, FindManagementNode, PoolDeps
from bessemer.kinds.runnerpool.execute import note_want, perform
from bessemer.kinds.runnerpool.facts import NO_SLOT, RETRY_SECONDS
from bessemer.kinds.runnerpool.metrics import PoolMetrics
from bessemer.kinds.runnerpool.observe import begin_reading
from bessemer.kinds.runnerpool.plan import Step
from bessemer.kinds.runnerpool.pods.job_pods import parse_job_pod
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kinds.runnerpool.render.config import add_site_proxy
from bessemer.kinds.runnerpool.resource import RUNNER_POOLS
from bessemer.kinds.runnerpool.runner.memory import compute_check_seconds, compute_due, compute_pause
from bessemer.kinds.runnerpool.stalls import compute_look
from bessemer.kinds.runnerpool.webhooks import PATH, build_receiver
from bessemer.kube.podmodel import read_pod
from bessemer.kube.protocol import PODS, RESOURCE_QUOTAS, Object
from bessemer.kube.watch import Watcher

COUNTS = frozenset({"observedGeneration", "replicas", "pending", "starting", "idle", "running", "draining", "selector"})
MODEL = Model(KIND, RUNNER_POOLS, POOL_FINALIZER, parse_runner_pool, cached=True, paced=COUNTS)

PoolPlan = Plan[Step | RunnerStep]


class PoolKind(Kind[RunnerPool, Reading, PoolPlan]):
    """Pools: pods are observed by the watch, runner and jobs through GitLab."""

    model = MODEL

    def __init__(
        self,
        deps: engine.Deps,
        watcher: Watcher,
        find_management_node: FindManagementNode,
        wake: Wake,
        objects: ObjectCache,
        connect: Connect | None = None,
    ) -> None:
        connect = connect or GitLabConnector(parse_hosts(deps.settings.gitlab_allowed_hosts)).connect
        self.deps = PoolDeps(
            kubernetes=deps.kubernetes,
            settings=deps.settings,
            recorder=deps.recorder,
            metrics=deps.metrics,
            now=deps.now,
            gitlab_clients=ClientPool(connect),
            sources=Sources(deps.now, wake),
            secrets=SecretWatches(watcher, wake),
            find_management_node=find_management_node,
            pool_metrics=PoolMetrics(deps.metrics.registry),
            pools=objects,
        )
        self.children = (
            Child(PODS, self._hear_pod, POOL_LABEL),
            Child(PODS, self._hear_job_pod, RUNNER_UID_LABEL),
            Child(RESOURCE_QUOTAS, self._hear_quota),
        )
        self.routes = Routes(public=(Route(PATH, build_receiver(self.deps).post),))

    async def observe(self, resource: RunnerPool, woken: float) -> Reading:  # noqa: ARG002  no metric of a pool's needs it
        """Return the pool as the watch last reported it; the steps of the pass read the other facts."""
        return begin_reading(self.deps, add_site_proxy(resource, self.deps.settings))

    def decide(self, facts: Reading, now: datetime) -> PoolPlan:
        """Return the next step for the runner, the pods and the pool."""
        return decide_step(facts, now)

    async def execute(self, facts: Reading, plan: PoolPlan) -> Reading:
        """Execute a step."""
        return await perform(self.deps, facts, plan.step)

    async def finish(self, facts: Reading, plan: PoolPlan) -> float | None:
        """Forget failures that are now in the status, or are known not to be failures."""
        deps, pool = self.deps, facts.pool
        key = (pool.namespace, pool.name)
        memory = deps.memories.get(key)
        memory.doubtful = [end for end in memory.doubtful if end not in plan.judged]
        note_want(deps, pool, plan.scaling)
        ready = facts.facts is not None and facts.facts.runner.ready
        if facts.facts is not None:
            deps.pool_metrics.note(key, facts.facts, plan.scaling, deps.now())
        check = compute_check_seconds(deps, pool) if ready else RETRY_SECONDS
        dues = (max(check, compute_pause(deps, key)), compute_due(deps, key), compute_look(deps, key))
        return min(due for due in dues if due is not None)

    async def forget(self, key: Key) -> None:
        """Forget a deleted pool and close its connections."""
        self.deps.memories.forget(key)
        self.deps.pool_metrics.forget(key)
        self.deps.job_pods.forget(key)
        self.deps.secrets.leave(key)
        await self.deps.gitlab_clients.leave(key)
        await self.deps.sources.leave(key)

    async def close(self) -> None:
        """End watches, polls and connections."""
        await self.deps.secrets.close()
        await self.deps.sources.close()
        await self.deps.gitlab_clients.close()

    def _hear_pod(self, type_: str | None, namespace: str, raw: Object) -> Iterable[Key]:
        pod, owner = parse_runner_pod(raw), read_pod(raw).metadata.controller
        if owner.kind != KIND or pod.slot == NO_SLOT:
            return ()  # it only resembles a runner pod
        key = (namespace, owner.name)
        memory = self.deps.memories.get(key)
        if type_ == GONE:
            if memory.pods.drop(pod):
                memory.vanished.append(pod)
            return (key,)
        return (key,) if memory.pods.put(pod) else ()

    def _hear_job_pod(self, type_: str | None, namespace: str, raw: Object) -> Iterable[Key]:
        pool, pod = parse_job_pod(raw)
        key = (namespace, pool)
        if type_ == GONE:
            self.deps.job_pods.drop(namespace, pod.name)
            return (key,)
        return (key,) if self.deps.job_pods.put(key, pod) else ()

    def _hear_quota(self, type_: str | None, namespace: str, raw: Object) -> Iterable[Key]:
        """Record which quotas exist. No pool is woken: pools that need room check for it."""
        name = str(raw["metadata"].get("name") or "")
        names = self.deps.quotas.setdefault(namespace, set())
        if type_ != GONE:
            names.add(name)
            return ()
        names.discard(name)
        if not names and self.deps.pools.is_empty(namespace):
            del self.deps.quotas[namespace]  # its namespace may be gone; quotas are listed again for a new pool
        return ()

"""Reads all facts about a pool: the object itself, its pods, its runner, the waiting jobs, the quota."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

from bessemer.api.names import build_label_value
from bessemer.api.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.api.wellknown import JOB_POD_POOL_LABEL, POOL_LABEL
from bessemer.engine.loop import Key
from bessemer.kinds.runnerpool.course import Reading
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import (
    BLOCKED,
    NO_SLOT,
    Demand,
    Facts,
    Headroom,
    RunnerFact,
    RunnerPodFact,
    RunnerPodState,
)
from bessemer.kinds.runnerpool.pods.job_pods import parse_job_pod
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kinds.runnerpool.runner.memory import compute_check_seconds, compute_pause, get_known
from bessemer.kinds.runnerpool.runner.request import build_traits
from bessemer.kinds.runnerpool.scaling.quota import (
    Claim,
    compute_begun,
    compute_headroom,
    compute_owed,
    list_claims,
    list_runner_costs,
)
from bessemer.kinds.runnerpool.stalls import explain_stall
from bessemer.kube.protocol import PODS, RESOURCE_QUOTAS, Object

BLIND = "NoAccessToken"
"""Reason if there is no access token, so that the waiting jobs are unknown."""


def begin_reading(deps: PoolDeps, pool: RunnerPool) -> Reading:
    """Return what is known of a pool before anything is read."""
    key = (pool.namespace, pool.name)
    known, changes = get_known(deps, pool), deps.secrets.count_changes(key)
    seconds, pause = compute_check_seconds(deps, pool), compute_pause(deps, key)
    is_fresh = known is not None and known.heard == changes and known.is_fresh(pool, deps.now(), seconds, pause)
    fresh = known.fact if known is not None and is_fresh else None
    return Reading(pool, deps.sources.get_polls(key), changes, fresh)


async def get_facts(deps: PoolDeps, pool: RunnerPool, runner: RunnerFact) -> Facts:
    """Read the facts of a pass that has seen to the runner."""
    key = (pool.namespace, pool.name)
    memory = deps.memories.get(key)
    if pool.spec is None or pool.deleted is not None:
        demand = Demand(known=False, reason=runner.reason)
    else:
        demand = compute_demand(deps, key, pool.spec, runner)
    pods = await list_pods(deps, pool)
    job_pods = tuple(deps.job_pods.list_of(key))
    busy = demand.blind or bool(demand.jobs) or any(not pod.leaving for pod in job_pods)
    facts = Facts(
        pool,
        demand,
        runner,
        pods,
        job_pods=job_pods,
        blocked=frozenset(slot for slot, seen in memory.blocked.items() if deps.now() - seen < BLOCKED),
        last_taken=memory.taken,
        doubtful=tuple(memory.doubtful),
        quiet_since=None if busy else memory.quiet or deps.now(),
        vanished=tuple(memory.vanished),
    )
    return await explain_stall(deps, facts)


async def list_pods(deps: PoolDeps, pool: RunnerPool) -> dict[str, RunnerPodFact]:
    """Return the pool's pods, from memory if it is recent enough."""
    key, now = (pool.namespace, pool.name), monotonic()
    memory = deps.memories.get(key)
    age = memory.pods.get_age(now)
    if age is None or age > deps.settings.resync_seconds:
        labels = f"{POOL_LABEL}={build_label_value(pool.name)}"
        raw = await deps.kubernetes.list_objects(PODS, pool.namespace, labels=labels)
        found = [pod for pod in map(parse_runner_pod, raw) if pod.slot != NO_SLOT]
        memory.vanished += memory.pods.replace(found, now)
        if deps.job_pods.list_of(key) or (pool.spec is not None and pool.spec.executor.kubernetes is not None):
            await _list_job_pods(deps, pool)
    return _list_own(deps, pool)


def _list_own(deps: PoolDeps, pool: RunnerPool) -> dict[str, RunnerPodFact]:
    """Return the known pods with the pool's label that belong to it."""
    known, now = deps.memories.get((pool.namespace, pool.name)).pods.list_pods(), deps.now()
    own = {name: pod for name, pod in known.items() if pod.belongs_to(pool.uid)}
    return {
        name: replace(pod, state=RunnerPodState.LOST) if pod.lost_from is not None and pod.lost_from <= now else pod
        for name, pod in own.items()
    }


async def _list_job_pods(deps: PoolDeps, pool: RunnerPool) -> None:
    """Read the job pods: a restarted watch does not report the deletions in between."""
    labels = f"{JOB_POD_POOL_LABEL}={build_label_value(pool.name)}"
    raw = await deps.kubernetes.list_objects(PODS, pool.namespace, labels=labels)
    found = [pod for name, pod in map(parse_job_pod, raw) if name == pool.name and pod.runner_uid]
    deps.job_pods.replace((pool.namespace, pool.name), found)


def compute_demand(deps: PoolDeps, key: Key, spec: RunnerPoolSpec, runner: RunnerFact) -> Demand:
    """Return the jobs that GitLab would give to the pool's runner."""
    source = deps.sources.get_source(key)
    if source is None and spec.gitlab.api_token_secret is not None:
        return Demand(known=False, reason=runner.reason, message=runner.message)
    if source is None:
        text = "without spec.gitlab.apiTokenSecret the waiting jobs are not known; min runners poll by themselves"
        return Demand(known=False, reason=BLIND, message=text, blind=True)
    return source.compute_demand(build_traits(spec))


async def list_quotas(deps: PoolDeps, namespace: str) -> list[Object]:
    """Return the current quotas of a namespace.

    No request is made if the watch has shown none, as in most namespaces.
    """
    if deps.quotas.get(namespace) == set():
        return []
    found = await deps.kubernetes.list_objects(RESOURCE_QUOTAS, namespace)
    deps.quotas.setdefault(namespace, set()).update(raw["metadata"]["name"] for raw in found)
    return found


async def add_headroom(deps: PoolDeps, facts: Facts, spec: RunnerPoolSpec) -> Facts:
    """Read the namespace's quotas. Nothing may be awaited between this and the decision what to create."""
    key = (facts.pool.namespace, facts.pool.name)
    quotas = await list_quotas(deps, key[0])
    if not quotas:
        return replace(facts, headroom=None, measured=True)
    owed = await _list_owed_by_others(deps, key)
    wants = {other[1]: memory.want for other, memory in deps.memories.list_others(key) if memory.want is not None}
    claims = [
        compute_owed(spec, facts.pods.values(), facts.job_pods),
        *owed,
        *list_claims(wants, spec.priority, deps.now()),
    ]
    headroom: Headroom | None = compute_headroom(quotas, list_runner_costs(spec), claims)
    return replace(facts, headroom=headroom, measured=True)


async def _list_owed_by_others(deps: PoolDeps, own: Key) -> list[Claim]:
    """Return the claims of the namespace's other pools: runners being created, and jobs of existing runners."""
    listed = (deps.pools.parse(other, parse_runner_pool) for other in deps.pools.list_others(own))
    found = [pool for pool in listed if pool is not None]
    for pool in found:
        await list_pods(deps, pool)  # after a restart, the pods of a pool without a pass are not known yet
    claims = []
    for pool in found:
        if pool.spec is None:
            continue
        key = (pool.namespace, pool.name)
        pods = _list_own(deps, pool).values()
        claims.append(compute_owed(pool.spec, pods, deps.job_pods.list_of(key)))
        claims.append(compute_begun(pool.spec, deps.memories.get(key).begun))
    return claims

"""Bring one pool forward: the only place that orders I/O.

Everything is read, decided upon once, carried out, and told in the status. A pass may die between any two calls: the
next one finds out from pods, Secrets and GitLab what was done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic

from bessemer.boundary import NEVER
from bessemer.errors import BessemerError, Retry
from bessemer.kube.client import (
    PODS,
    RUNNER_POOLS,
    AlreadyExists,
    Conflict,
    Refused,
)
from bessemer.kube.events import EventFact
from bessemer.resource import build_merge_patch
from bessemer.runnerpool.decide import Plan, decide
from bessemer.runnerpool.deps import PoolDeps
from bessemer.runnerpool.facts import ANY_JOB, Facts, Refusal, RunnerPodFact, RunnerPodState
from bessemer.runnerpool.gather import add_headroom, get_facts
from bessemer.runnerpool.known import RETRY_SECONDS, compute_check_seconds, doubt_runner
from bessemer.runnerpool.managers import compute_due, delete_manager, settle_managers
from bessemer.runnerpool.manifest import build_runner_pod, build_sending
from bessemer.runnerpool.pauses import compute_pause, put_pause
from bessemer.runnerpool.plan import Action, CollectPod, CreatePod, EndJobPod, RetirePod, SendPod
from bessemer.runnerpool.pods import parse_runner_pod
from bessemer.runnerpool.quota import QUOTA_SECONDS, compute_want
from bessemer.runnerpool.registration import delete_runner
from bessemer.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.runnerpool.status import RunnerPoolStatus
from bessemer.runnerpool.statuspace import StatusPace
from bessemer.runnerpool.summary import compute_events, compute_loss
from bessemer.wakeups import Key
from bessemer.wellknown import POOL_FINALIZER

AT_ONCE = 32
"""Requests of one pass to Kubernetes that are under way side by side."""
LEAVING = "the pool is kept until GitLab has forgotten its runner"
_log = logging.getLogger(__name__)


async def reconcile(deps: PoolDeps, key: Key, _woken: float) -> float | None:
    """Bring a pool forward; give the seconds after which time alone makes the next pass due."""
    raw = deps.pools.get(key)
    if raw is None:
        deps.pods.forget(key)
        deps.job_pods.forget(key)
        for memory in (
            deps.runners,
            deps.pauses,
            deps.left_managers,
            deps.paces,
            deps.vanished,
            deps.quiet,
            deps.taken,
            deps.wants,
        ):
            memory.pop(key, None)
        deps.secrets.leave(key)
        await deps.doors.leave(key)
        await deps.sources.leave(key)
        return NEVER
    pool = parse_runner_pool(raw)
    if POOL_FINALIZER not in pool.finalizers:
        return await _add_finalizer(deps, pool)
    facts = await get_facts(deps, pool)
    await settle_managers(deps, pool)
    for pod in deps.vanished.pop(key, ()):
        if not pod.belongs_to(pool.uid):
            continue
        await _close_pod(deps, pool, pod, deps.now())
        lost = compute_loss(pod)
        if lost is not None:
            await deps.recorder.record(pool.reference(), lost)
    plan = decide(facts, deps.now())
    if pool.spec is not None and any(isinstance(action, CreatePod) for action in plan.scaling.actions):
        facts = await add_headroom(deps, facts, pool.spec)
        plan = decide(facts, deps.now())
    wake = _note_want(deps, key, pool, plan)
    deps.begun[key] = sum(isinstance(action, CreatePod) for action in plan.scaling.actions)
    try:
        refusals = await _perform(deps, facts, plan.scaling.actions)
    finally:
        deps.begun.pop(key, None)
    if refusals:
        facts = replace(facts, refusal=refusals[0])
        status = decide(facts, deps.now()).status
        plan = replace(plan, scaling=plan.scaling.correct(len(refusals)), status=status, wake_after=RETRY_SECONDS)
    for reason, message in plan.scaling.reasons:
        _log.info("%s/%s: %s: %s", pool.namespace, pool.name, reason, message)
    for event in compute_events(facts, plan.scaling, plan.status):
        await deps.recorder.record(pool.reference(), event)
    unwritten = await _write_status(deps, key, plan.status)
    if plan.let_go:
        # As it is now that its status was written; where it is gone, the next pass finds that out.
        raw = deps.pools.get(key)
        return await _let_go(deps, parse_runner_pool(raw)) if raw is not None else 0
    check = max(compute_check_seconds(deps, pool) if facts.runner.ready else RETRY_SECONDS, compute_pause(deps, key))
    dues = (check, plan.wake_after, unwritten, wake, compute_due(deps, key))
    return min(due for due in dues if due is not None)


def _note_want(deps: PoolDeps, key: Key, pool: RunnerPool, plan: Plan) -> float | None:
    """Take down what a pool could not create for want of room; give the seconds until it is to look again."""
    limit = plan.scaling.limit
    if pool.spec is None or limit is None or limit.reason != "Quota":
        deps.wants.pop(key, None)
        return None
    deps.wants[key] = compute_want(pool.spec, max(plan.scaling.unserved, 1), deps.now())
    return QUOTA_SECONDS


async def _perform(deps: PoolDeps, facts: Facts, actions: tuple[Action, ...]) -> list[Refusal]:
    """Carry the actions out, side by side; give what Kubernetes refused."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def run(work: Callable[[], Awaitable[Refusal | None]]) -> Refusal | None:
        async with gate:
            return await work()

    now = deps.now()
    works = [run(_choose(deps, facts, action, now)) for action in actions]
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, Refusal)]


def _choose(deps: PoolDeps, facts: Facts, action: Action, now: datetime) -> Callable[[], Awaitable[Refusal | None]]:
    match action:
        case CreatePod():
            return lambda: _create_begun(deps, facts, action, now)
        case SendPod():
            return lambda: _send_pod(deps, facts, action, now)
        case RetirePod():
            return lambda: _retire_pod(deps, facts, action)
        case CollectPod():
            return lambda: _collect_pod(deps, facts, action, now)
        case EndJobPod():
            return lambda: _end_job_pod(deps, facts, action)


async def _create_begun(deps: PoolDeps, facts: Facts, action: CreatePod, now: datetime) -> Refusal | None:
    """Create a pod; from then on its own state says which room it has, and not that it is about to be there."""
    try:
        return await _create_pod(deps, facts, action, now)
    finally:
        deps.begun[facts.pool.namespace, facts.pool.name] -= 1


async def _create_pod(deps: PoolDeps, facts: Facts, action: CreatePod, now: datetime) -> Refusal | None:
    pool = facts.pool
    if pool.spec is None:
        raise ValueError("no pod is created without a spec")
    body = build_runner_pod(pool, pool.spec, deps.settings, action.slot, facts.runner.template)
    if action.job is not None:
        body["metadata"]["annotations"] |= build_sending(action.job, now)
    name = body["metadata"]["name"]
    try:
        raw = await deps.kubernetes.create_object(PODS, pool.namespace, body)
    except AlreadyExists:
        found = await deps.kubernetes.get_object(PODS, pool.namespace, name)
        if found is None:
            raise Retry("Vanished", f"pod {name} has just been deleted", after=0) from None
        raw = found
        there = parse_runner_pod(raw)
        if (there.owner_uid, there.slot) != (pool.uid, action.slot):
            return Refusal("NameTaken", f"pod {name} belongs to something else")
    except Refused as error:
        reason = "Quota" if "exceeded quota" in error.message else "PodRefused"
        return Refusal(reason, error.message)
    deps.pods.put((pool.namespace, pool.name), parse_runner_pod(raw))
    return None


async def _send_pod(deps: PoolDeps, facts: Facts, action: SendPod, now: datetime) -> None:
    pool, pod = facts.pool, action.pod
    patch = {"metadata": {"uid": pod.uid, "annotations": build_sending(action.job, now)}}
    try:
        raw = await deps.kubernetes.patch_object(PODS, pool.namespace, pod.name, patch)
    except Conflict:
        raw = None  # another pod bears the name by now
    if raw is None:
        deps.pods.drop((pool.namespace, pool.name), pod)
    else:
        deps.pods.put((pool.namespace, pool.name), parse_runner_pod(raw))


async def _retire_pod(deps: PoolDeps, facts: Facts, action: RetirePod) -> None:
    pool, pod = facts.pool, action.pod
    await deps.kubernetes.delete_object(PODS, pool.namespace, pod.name, uid=pod.uid)
    deps.pods.mark((pool.namespace, pool.name), replace(pod, state=RunnerPodState.DRAINING))


async def _end_job_pod(deps: PoolDeps, facts: Facts, action: EndJobPod) -> None:
    pool, pod = facts.pool, action.pod
    await deps.kubernetes.delete_object(PODS, pool.namespace, pod.name, uid=pod.uid)
    key = (pool.namespace, pool.name)
    if pod.name in {known.name for known in deps.job_pods.list_pods(key)}:
        deps.job_pods.put(key, replace(pod, leaving=True, deleted=True))


async def _collect_pod(deps: PoolDeps, facts: Facts, action: CollectPod, now: datetime) -> None:
    """Remove a pod that has ended and its manager's record, and have it known what became of its job."""
    pool, pod = facts.pool, action.pod
    key = (pool.namespace, pool.name)
    # Before it is deleted: the news that it is gone may be here before the answer, and is nothing to act upon.
    deps.pods.mark(key, replace(pod, state=RunnerPodState.COLLECTED))
    # Where nothing runs any more, there is nothing to give the kubelet time for: it takes more than a second.
    grace = 0 if pod.stopped else None
    try:
        # GitLab first: should we die in between, the pod is still there to be collected.
        await _close_pod(deps, pool, pod, now)
        await deps.kubernetes.delete_object(PODS, pool.namespace, pod.name, uid=pod.uid, grace_seconds=grace)
    except BessemerError:
        deps.pods.mark(key, pod)
        raise
    if pod.state is RunnerPodState.FAILED and not pod.claimed:
        doubt_runner(deps, (pool.namespace, pool.name))  # its token may have been refused


async def _close_pod(deps: PoolDeps, pool: RunnerPool, pod: RunnerPodFact, now: datetime) -> None:
    """Settle with GitLab what a pod has left: its manager's record, and its job where it did not get it."""
    if pod.job is None:
        return  # it never asked GitLab for anything
    await delete_manager(deps, pool, pod)
    if pod.claimed:
        deps.taken[pool.namespace, pool.name] = now
    source = deps.sources.get_source((pool.namespace, pool.name))
    if source is not None and pod.job != ANY_JOB and source.board.put_tried(int(pod.job), pod.claimed, now, pod.said):
        source.nudge()


async def _add_finalizer(deps: PoolDeps, pool: RunnerPool) -> float | None:
    key = (pool.namespace, pool.name)
    if pool.deleted is not None:
        return None
    metadata = {"finalizers": [*pool.finalizers, POOL_FINALIZER], "resourceVersion": pool.resource_version}
    try:
        raw = await deps.kubernetes.patch_object(RUNNER_POOLS, *key, {"metadata": metadata})
    except Conflict as error:
        raise Retry("Conflict", error.message, after=0.1) from error
    if raw is not None:
        deps.pools[key] = raw
    return 0


async def _let_go(deps: PoolDeps, pool: RunnerPool) -> float | None:
    """Have GitLab forget the runner, then let the pool go; after a time it goes even where GitLab could not be told."""
    key = (pool.namespace, pool.name)
    since = deps.now() - pool.deleted if pool.deleted is not None else timedelta()
    patience = deps.settings.deletion_seconds - since.total_seconds()
    pause = compute_pause(deps, key)
    if pause > 0 and patience > 0:
        return min(pause, patience)
    try:
        await delete_runner(deps, pool)
    except BessemerError as error:
        put_pause(deps, key, error)
        if patience > 0:
            await deps.recorder.record(
                pool.reference(), EventFact("Warning", error.reason, f"{LEAVING}: {error.message}")
            )
            wait = min(max(RETRY_SECONDS, compute_pause(deps, key)), patience)
            raise Retry(error.reason, error.message, after=wait) from error
        text = f"GitLab keeps what it has of runner {pool.status.runner.id}: {error.message}"
        await deps.recorder.record(pool.reference(), EventFact("Warning", "RunnerLeft", text))
    left = [name for name in pool.finalizers if name != POOL_FINALIZER]
    patch = {"metadata": {"finalizers": left, "resourceVersion": pool.resource_version}}
    try:
        await deps.kubernetes.patch_object(RUNNER_POOLS, pool.namespace, pool.name, patch)
    except Conflict as error:
        raise Retry("Conflict", error.message, after=0.1) from error
    deps.pools.pop((pool.namespace, pool.name), None)
    return 0


async def _write_status(deps: PoolDeps, key: Key, status: RunnerPoolStatus) -> float | None:
    """Write the status if it has changed; give the seconds until it may be written, where it is too early."""
    raw = deps.pools.get(key)
    if raw is None:
        return None
    pace = deps.paces.setdefault(key, StatusPace())
    before, after = raw.get("status") or {}, status.to_api()
    if before == after:
        pace.put_equal()
        return None
    counts_only = all(before.get(name) == after.get(name) for name in ("conditions", "runner", "backOff", "min"))
    wait = pace.compute_wait(monotonic())
    if counts_only and wait > 0:
        return wait
    patch = build_merge_patch(before, after)
    written = await deps.kubernetes.patch_object(RUNNER_POOLS, *key, {"status": patch}, subresource="status")
    pace.put_written(monotonic())
    if written is not None:
        deps.pools[key] = written
    return None

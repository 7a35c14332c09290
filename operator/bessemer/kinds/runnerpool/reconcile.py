"""Reconcile one pool: the only module that sequences I/O.

Everything is read, decided upon once, carried out, and told in the status. A pass may die between any two calls: the
next one finds out from pods, Secrets and GitLab what was done.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from time import monotonic

from bessemer.api.base import build_merge_patch
from bessemer.api.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.api.runnerpool.status import RunnerPoolStatus
from bessemer.api.wellknown import POOL_FINALIZER
from bessemer.engine.boundary import NEVER
from bessemer.engine.loop import Key
from bessemer.engine.statuspace import StatusPace
from bessemer.errors import Retry
from bessemer.kinds.runnerpool.decide import Plan, decide
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.execute import close_pod, perform
from bessemer.kinds.runnerpool.observe import add_headroom, get_facts
from bessemer.kinds.runnerpool.plan import CreatePod
from bessemer.kinds.runnerpool.render.config import add_site_proxy
from bessemer.kinds.runnerpool.runner.known import RETRY_SECONDS
from bessemer.kinds.runnerpool.runner.memory import compute_check_seconds, compute_due, compute_pause
from bessemer.kinds.runnerpool.runner.reconcile import end_runner, forget_due_managers, keep_runner
from bessemer.kinds.runnerpool.scaling.quota import QUOTA_SECONDS, compute_want
from bessemer.kinds.runnerpool.stalls import compute_look
from bessemer.kinds.runnerpool.status import compute_events, compute_loss
from bessemer.kube.protocol import RUNNER_POOLS, Conflict

_log = logging.getLogger(__name__)


async def reconcile(deps: PoolDeps, key: Key, _woken: float) -> float | None:
    """Reconcile a pool; return the seconds until the next pass is due without an event."""
    raw = deps.pools.get(key)
    if raw is None:
        deps.metrics.forget(key)
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
            deps.blocked,
            deps.wants,
            deps.stalls,
            deps.doubtful,
        ):
            memory.pop(key, None)
        deps.secrets.leave(key)
        await deps.gitlab_clients.leave(key)
        await deps.sources.leave(key)
        return NEVER
    pool = add_site_proxy(parse_runner_pool(raw), deps.settings)
    if POOL_FINALIZER not in pool.finalizers:
        return await _add_finalizer(deps, pool)
    facts = await get_facts(deps, pool, await keep_runner(deps, pool))
    await forget_due_managers(deps, pool)
    for pod in deps.vanished.pop(key, ()):
        if not pod.belongs_to(pool.uid):
            continue
        await close_pod(deps, pool, pod, deps.now())
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
        refusals = await perform(deps, facts, plan.scaling.actions)
    finally:
        deps.begun.pop(key, None)
    if refusals:
        facts = replace(facts, refusal=refusals[0])
        status = decide(facts, deps.now()).status
        plan = replace(plan, scaling=plan.scaling.correct(len(refusals)), status=status, wake_after=RETRY_SECONDS)
    deps.metrics.note(key, facts, plan.scaling, deps.now())
    for reason, message in plan.scaling.reasons:
        _log.info("%s/%s: %s: %s", pool.namespace, pool.name, reason, message)
    for event in compute_events(facts, plan.scaling, plan.status):
        await deps.recorder.record(pool.reference(), event)
    unwritten = await _write_status(deps, key, plan.status)
    _forget_judged(deps, key, plan)
    if plan.finalize:
        # As it is now that its status was written; where it is gone, the next pass finds that out.
        raw = deps.pools.get(key)
        return await _finalize(deps, parse_runner_pool(raw)) if raw is not None else 0
    check = max(compute_check_seconds(deps, pool) if facts.runner.ready else RETRY_SECONDS, compute_pause(deps, key))
    dues = (check, plan.wake_after, unwritten, wake, compute_due(deps, key), compute_look(deps, key))
    return min(due for due in dues if due is not None)


def _note_want(deps: PoolDeps, key: Key, pool: RunnerPool, plan: Plan) -> float | None:
    """Record the pods that a pool could not create because of a quota; return the seconds until the next check."""
    limit = plan.scaling.limit
    if pool.spec is None or limit is None or limit.reason != "QuotaExceeded":
        deps.wants.pop(key, None)
        return None
    deps.wants[key] = compute_want(pool.spec, max(plan.scaling.unserved, 1), deps.now())
    return QUOTA_SECONDS


def _forget_judged(deps: PoolDeps, key: Key, plan: Plan) -> None:
    """Forget the failures that stand in the status now, or are known to be none."""
    left = [end for end in deps.doubtful.get(key, ()) if end not in plan.judged]
    if left:
        deps.doubtful[key] = left
    else:
        deps.doubtful.pop(key, None)


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


async def _finalize(deps: PoolDeps, pool: RunnerPool) -> float | None:
    """Delete the runner in GitLab, then finalize the pool; after a deadline, finalize it even if GitLab did
    not answer.
    """
    end = await end_runner(deps, pool)
    if end.failure is not None:
        raise Retry(end.failure.reason, end.failure.message, after=end.wait) from end.failure
    if not end.done:
        return end.wait
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

"""Carry out what was decided for the pods of a pool, and settle with GitLab what those have left that are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.errors import BessemerError, Retry
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import ANY_JOB, DoubtfulEnd, Facts, Refusal, RunnerPodFact, RunnerPodState
from bessemer.kinds.runnerpool.plan import Action, CollectPod, CreatePod, EndJobPod, RetirePod, SendPod
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kinds.runnerpool.render.manifest import build_runner_pod, build_sending
from bessemer.kinds.runnerpool.runner.memory import doubt_runner
from bessemer.kinds.runnerpool.runner.reconcile import forget_manager
from bessemer.kube.protocol import PODS, AlreadyExists, Conflict, Refused

AT_ONCE = 32
"""Requests of one pass to Kubernetes that are under way side by side."""


async def perform(deps: PoolDeps, facts: Facts, actions: tuple[Action, ...]) -> list[Refusal]:
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
            deps.blocked.setdefault((pool.namespace, pool.name), {})[action.slot] = now
            return Refusal("NameTaken", f"pod {name} belongs to something else")
    except Refused as error:
        reason = "QuotaExceeded" if "exceeded quota" in error.message else "PodRefused"
        return Refusal(reason, error.message)
    deps.pods.put((pool.namespace, pool.name), parse_runner_pod(raw))
    return None


async def _send_pod(deps: PoolDeps, facts: Facts, action: SendPod, now: datetime) -> None:
    pool, pod = facts.pool, action.pod
    patch = {"metadata": {"uid": pod.uid, "annotations": build_sending(action.job, now)}}
    try:
        raw = await deps.kubernetes.patch_object(PODS, pool.namespace, pod.name, patch)
    except Conflict:  # another pod has the name by now, or this one was changed meanwhile and still exists
        raw = await deps.kubernetes.get_object(PODS, pool.namespace, pod.name)
    if raw is None or parse_runner_pod(raw).uid != pod.uid:
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
        await close_pod(deps, pool, pod, now)
        await deps.kubernetes.delete_object(PODS, pool.namespace, pod.name, uid=pod.uid, grace_seconds=grace)
    except BessemerError:
        deps.pods.mark(key, pod)
        raise
    if pod.failed_without_job and pod.doubtful:
        deps.doubtful.setdefault(key, []).append(DoubtfulEnd(pod, now))
        source = deps.sources.get_source(key)
        if source is not None:
            source.nudge()
    if pod.state is RunnerPodState.FAILED and not pod.claimed:
        doubt_runner(deps, (pool.namespace, pool.name))  # its token may have been refused


async def close_pod(deps: PoolDeps, pool: RunnerPool, pod: RunnerPodFact, now: datetime) -> None:
    """Settle with GitLab what a pod has left: its manager's record, and its job where it did not get it."""
    if pod.job is None:
        return  # it never asked GitLab for anything
    await forget_manager(deps, pool, pod)
    if pod.claimed:
        deps.taken[pool.namespace, pool.name] = now
    source = deps.sources.get_source((pool.namespace, pool.name))
    if source is not None and pod.job != ANY_JOB and source.board.put_tried(int(pod.job), pod.claimed, now, pod.said):
        source.nudge()

"""Executes the decisions for a pool, and cleans up in GitLab after pods that are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from bessemer.api.reasons import NAME_TAKEN, QUOTA_EXCEEDED
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.engine.objects import create_or_adopt
from bessemer.engine.refusals import Refusal, explain_refusal
from bessemer.errors import BessemerError
from bessemer.kinds.runnerpool.course import (
    ConcludeEnd,
    ConcludeRunner,
    DeleteLeft,
    ForgetManagers,
    KeepRunner,
    Reading,
    ReadPods,
    ReadRunner,
    RunnerStep,
)
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import ANY_JOB, DoubtfulEnd, Facts, RunnerPodFact, RunnerPodState
from bessemer.kinds.runnerpool.observe import add_headroom, get_facts
from bessemer.kinds.runnerpool.plan import (
    Action,
    CloseVanished,
    CollectPod,
    CreatePod,
    EndJobPod,
    EndRunner,
    MeasureHeadroom,
    RetirePod,
    ScalePods,
    Scaling,
    SendPod,
    Step,
)
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kinds.runnerpool.render.manifest import build_runner_pod, build_sending
from bessemer.kinds.runnerpool.runner.memory import doubt_runner
from bessemer.kinds.runnerpool.runner.observe import get_end_facts
from bessemer.kinds.runnerpool.runner.reconcile import (
    conclude_end,
    conclude_runner,
    delete_left,
    forget_manager,
    forget_managers,
    list_due_managers,
    read_runner,
    stop_polls,
    take_step,
)
from bessemer.kinds.runnerpool.scaling.quota import compute_want
from bessemer.kinds.runnerpool.status import compute_loss, compute_scaling_events
from bessemer.kube.protocol import PODS, Conflict, Object, Refused

AT_ONCE = 32
"""Concurrent requests of one pass to Kubernetes."""


async def perform(deps: PoolDeps, reading: Reading, step: Step | RunnerStep | None) -> Reading:
    """Execute a step; return the reading after it."""
    if reading.facts is None:
        return await _see_to_runner(deps, reading, step)
    if isinstance(step, (EndRunner, DeleteLeft, ConcludeEnd)):
        return await _end_runner(deps, reading, reading.facts, step)
    return await _see_to_pods(deps, reading, reading.facts, step)


async def _see_to_pods(deps: PoolDeps, reading: Reading, facts: Facts, step: Step | RunnerStep | None) -> Reading:
    pool = reading.pool
    match step:
        case ForgetManagers(slots):
            await forget_managers(deps, pool, slots)
            return replace(reading, due=frozenset())
        case CloseVanished(pods):
            for pod in pods:
                await _close_vanished(deps, pool, pod)
            return replace(reading, facts=replace(facts, vanished=()))
        case MeasureHeadroom() if pool.spec is not None:
            return replace(reading, facts=await add_headroom(deps, facts, pool.spec))
        case ScalePods(scaling):
            done, facts = await _scale(deps, facts, scaling)
            return replace(reading, facts=facts, done=done)
    raise ValueError(f"{type(step).__name__} is no step for pods")


async def _end_runner(
    deps: PoolDeps, reading: Reading, facts: Facts, step: EndRunner | DeleteLeft | ConcludeEnd
) -> Reading:
    match step:
        case DeleteLeft(decision) if reading.end is not None:
            return replace(reading, end=await delete_left(deps, reading.end, decision))
        case ConcludeEnd(decision):
            departure = await conclude_end(deps, reading.pool, decision)
            return replace(reading, facts=replace(facts, departure=departure))
        case _:
            return replace(reading, end=await get_end_facts(deps, reading.pool))


async def _see_to_runner(deps: PoolDeps, reading: Reading, step: Step | RunnerStep | None) -> Reading:
    pool, runner = reading.pool, reading.runner
    match step:
        case ReadRunner() if pool.spec is not None:
            return replace(reading, runner=await read_runner(deps, pool, pool.spec))
        case KeepRunner(decision):
            if runner is not None:
                return replace(reading, runner=await take_step(deps, runner, decision))
            await stop_polls(deps, pool, decision)
            return replace(reading, polls=None)
        case ConcludeRunner(decision) if runner is not None:
            return replace(reading, fresh=conclude_runner(deps, runner, decision, reading.changes))
        case ReadPods(fact):
            facts = await get_facts(deps, pool, fact)
            _remember(deps, facts)
            return replace(reading, facts=facts, due=list_due_managers(deps, pool))
    raise ValueError(f"{type(step).__name__} is no step for a runner")


def _remember(deps: PoolDeps, facts: Facts) -> None:
    """Keep for the next pass what facts say about times."""
    memory = deps.memories.get((facts.pool.namespace, facts.pool.name))
    memory.quiet, memory.stall = facts.quiet_since, facts.stall
    memory.blocked = {slot: seen for slot, seen in memory.blocked.items() if slot in facts.blocked}


async def _close_vanished(deps: PoolDeps, pool: RunnerPool, pod: RunnerPodFact) -> None:
    memory = deps.memories.get((pool.namespace, pool.name))
    if pod.belongs_to(pool.uid):
        await close_pod(deps, pool, pod, deps.now())
        lost = compute_loss(pod)
        if lost is not None:
            await deps.recorder.record(pool.reference(), lost)
    memory.vanished.remove(pod)


async def _scale(deps: PoolDeps, facts: Facts, scaling: Scaling) -> tuple[Scaling, Facts]:
    """Execute the actions on pods and record their events.

    Returns what was done, and the facts with the first refusal by Kubernetes.
    """
    memory = deps.memories.get((facts.pool.namespace, facts.pool.name))
    note_want(deps, facts.pool, scaling)
    memory.begun = sum(isinstance(action, CreatePod) for action in scaling.actions)
    try:
        refusals = await _run_actions(deps, facts, scaling.actions)
    finally:
        memory.begun = 0
    done = scaling.correct(len(refusals)) if refusals else scaling
    for event in compute_scaling_events(done):
        await deps.recorder.record(facts.pool.reference(), event)
    return done, replace(facts, refusal=refusals[0] if refusals else None)


def note_want(deps: PoolDeps, pool: RunnerPool, scaling: Scaling) -> None:
    """Record the pods that a pool could not create because of a quota; pools of lower priority leave room for them."""
    limit, want = scaling.limit, None
    if pool.spec is not None and limit is not None and limit.reason == QUOTA_EXCEEDED:
        want = compute_want(pool.spec, max(scaling.unserved, 1), deps.now())
    deps.memories.get((pool.namespace, pool.name)).want = want


async def _run_actions(deps: PoolDeps, facts: Facts, actions: tuple[Action, ...]) -> list[Refusal]:
    """Execute the actions concurrently; return the refusals by Kubernetes."""
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
    """Create a pod; from then on the pod itself counts against the quota, and no longer the intention to create it."""
    try:
        return await _create_pod(deps, facts, action, now)
    finally:
        deps.memories.get((facts.pool.namespace, facts.pool.name)).begun -= 1


async def _create_pod(deps: PoolDeps, facts: Facts, action: CreatePod, now: datetime) -> Refusal | None:
    pool = facts.pool
    if pool.spec is None:
        raise ValueError("no pod is created without a spec")
    body = build_runner_pod(pool, pool.spec, deps.settings, action.slot, facts.runner.template)
    if action.job is not None:
        body["metadata"]["annotations"] |= build_sending(action.job, now)
    memory = deps.memories.get((pool.namespace, pool.name))

    def is_ours(raw: Object) -> bool:
        there = parse_runner_pod(raw)
        return (there.owner_uid, there.slot) == (pool.uid, action.slot)

    try:
        raw = await create_or_adopt(deps.kubernetes, PODS, pool.namespace, body, is_ours)
    except Refused as error:
        if error.reason == NAME_TAKEN:
            memory.blocked[action.slot] = now
        return explain_refusal(error)
    memory.pods.put(parse_runner_pod(raw))
    return None


async def _send_pod(deps: PoolDeps, facts: Facts, action: SendPod, now: datetime) -> None:
    pool, pod = facts.pool, action.pod
    patch = {"metadata": {"uid": pod.uid, "annotations": build_sending(action.job, now)}}
    try:
        raw = await deps.kubernetes.patch_object(PODS, pool.namespace, pod.name, patch)
    except Conflict:  # another pod has taken the name, or this pod was changed meanwhile and still exists
        raw = await deps.kubernetes.get_object(PODS, pool.namespace, pod.name)
    memory = deps.memories.get((pool.namespace, pool.name))
    if raw is None or parse_runner_pod(raw).uid != pod.uid:
        memory.pods.drop(pod)
    else:
        memory.pods.put(parse_runner_pod(raw))


async def _retire_pod(deps: PoolDeps, facts: Facts, action: RetirePod) -> None:
    pool, pod = facts.pool, action.pod
    await deps.kubernetes.delete_object(PODS, pool.namespace, pod.name, uid=pod.uid)
    deps.memories.get((pool.namespace, pool.name)).pods.mark(replace(pod, state=RunnerPodState.DRAINING))


async def _end_job_pod(deps: PoolDeps, facts: Facts, action: EndJobPod) -> None:
    pool, pod = facts.pool, action.pod
    await deps.kubernetes.delete_object(PODS, pool.namespace, pod.name, uid=pod.uid)
    key = (pool.namespace, pool.name)
    if pod.name in {known.name for known in deps.job_pods.list_of(key)}:
        deps.job_pods.put(key, replace(pod, leaving=True, deleted=True))


async def _collect_pod(deps: PoolDeps, facts: Facts, action: CollectPod, now: datetime) -> None:
    """Remove an ended pod and its runner manager's record, and report the outcome of its job."""
    pool, pod = facts.pool, action.pod
    key = (pool.namespace, pool.name)
    # Before the deletion: its watch event may arrive before the response, and must not cause a pass.
    memory = deps.memories.get(key)
    memory.pods.mark(replace(pod, state=RunnerPodState.COLLECTED))
    # No container runs any more, so the kubelet needs no grace period, which takes more than a second.
    grace = 0 if pod.stopped else None
    try:
        # GitLab first: if we die in between, the pod is still there and will be collected.
        await close_pod(deps, pool, pod, now)
        await deps.kubernetes.delete_object(PODS, pool.namespace, pod.name, uid=pod.uid, grace_seconds=grace)
    except BessemerError:
        memory.pods.mark(pod)
        raise
    if pod.failed_without_job and pod.doubtful:
        memory.doubtful.append(DoubtfulEnd(pod, now))
        source = deps.sources.get_source(key)
        if source is not None:
            source.nudge()
    if pod.state is RunnerPodState.FAILED and not pod.claimed:
        doubt_runner(deps, (pool.namespace, pool.name))  # its token may have been refused


async def close_pod(deps: PoolDeps, pool: RunnerPool, pod: RunnerPodFact, now: datetime) -> None:
    """Clean up in GitLab after a pod: its runner manager's record, and its job if the pod did not get it."""
    if pod.job is None:
        return  # it never contacted GitLab
    await forget_manager(deps, pool, pod)
    if pod.claimed:
        deps.memories.get((pool.namespace, pool.name)).taken = now
    source = deps.sources.get_source((pool.namespace, pool.name))
    if source is not None and pod.job != ANY_JOB and source.board.put_tried(int(pod.job), pod.claimed, now, pod.said):
        source.nudge()

"""Executes the steps of a pass that concern the runner, and keeps what they found out."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace

from bessemer.api.names import runner_secret_name
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.errors import BessemerError
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import CLAIM_WINDOW, Departure, RunnerFact, RunnerPodFact, RunnerPodState
from bessemer.kinds.runnerpool.runner.access import list_secrets
from bessemer.kinds.runnerpool.runner.conclude import conclude
from bessemer.kinds.runnerpool.runner.ending import EndFacts
from bessemer.kinds.runnerpool.runner.execute import carry_out, carry_out_end, open_gitlab, settle_manager
from bessemer.kinds.runnerpool.runner.facts import RunnerFacts
from bessemer.kinds.runnerpool.runner.memory import (
    compute_pause,
    get_left_managers,
    put_pause,
)
from bessemer.kinds.runnerpool.runner.observe import get_manager_facts, get_runner_facts
from bessemer.kinds.runnerpool.runner.plan import (
    ForgetManager,
    KeepManager,
    ListRunners,
    Plan,
    VerifyToken,
)
from bessemer.kinds.runnerpool.runner.runner_managers import AGAIN, decide_managers

_log = logging.getLogger(__name__)


async def read_runner(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec) -> RunnerFacts:
    """Read the facts, and use a GitLab client that matches them: a client with a deleted token is closed."""
    key = (pool.namespace, pool.name)
    deps.secrets.use(key, {*list_secrets(spec), runner_secret_name(pool.name)})
    facts = await get_runner_facts(deps, pool, spec)
    access = facts.access
    if access is not None and access.api_token is None and spec.gitlab.api_token_secret is not None:
        await deps.gitlab_clients.leave(key)
    if access is None or access.problem is not None or facts.problem is not None:
        return facts
    try:
        await open_gitlab(deps, facts)
    except BessemerError as error:
        return replace(facts, problem=error)
    return facts


async def take_step(deps: PoolDeps, facts: RunnerFacts, plan: Plan) -> RunnerFacts:
    """Execute one question or step; return the facts with its answer, or with the failure of its call."""
    if plan.step is None:
        raise ValueError(f"{plan} has no step")
    try:
        facts = await carry_out(deps, facts, plan.step)
    except BessemerError as error:
        return facts.take_failure(plan.step, error)
    await _tell(deps, facts.pool, plan)
    return facts


async def stop_polls(deps: PoolDeps, pool: RunnerPool, plan: Plan) -> None:
    """End the polls of a pool that is deleted or has an unreadable spec."""
    await deps.sources.leave((pool.namespace, pool.name))
    await _tell(deps, pool, plan)


def conclude_runner(deps: PoolDeps, facts: RunnerFacts, plan: Plan, changes: int) -> RunnerFact:
    """Remember the outcome, and how many changes of Secrets it takes into account; return the runner."""
    key = (facts.pool.namespace, facts.pool.name)
    put_pause(deps, key, plan.failure)
    known = replace(conclude(facts, plan, deps.now()), heard=changes)
    deps.memories.get(key).runner = known
    return known.fact


async def delete_left(deps: PoolDeps, facts: EndFacts, plan: Plan) -> EndFacts:
    """Execute one question or step for a deleted pool; return the facts with its answer, or with the failure."""
    if plan.step is None:
        raise ValueError(f"{plan} has no step")
    try:
        facts = await carry_out_end(deps, facts, plan.step)
    except BessemerError as error:
        return replace(facts, failure=error)
    await _tell(deps, facts.pool, plan)
    return facts


async def conclude_end(deps: PoolDeps, pool: RunnerPool, plan: Plan) -> Departure:
    """Remember a pause that GitLab requests; return whether the pool can be finalized."""
    if plan.failure is not None:
        put_pause(deps, (pool.namespace, pool.name), plan.failure)
    await _tell(deps, pool, plan)
    return Departure(plan.ended, plan.wait or 0.0)


async def forget_manager(deps: PoolDeps, pool: RunnerPool, pod: RunnerPodFact) -> None:
    """Delete the runner manager of a pod that is gone, or about to be, in GitLab.

    If GitLab can't be reached, this is repeated until it succeeds or the next pod of the slot uses the manager.
    """
    left, now = get_left_managers(deps, (pool.namespace, pool.name)), deps.now()
    # The runner of a pod that was killed or deleted by force may still run briefly, or its last request be on its way
    # to GitLab, which then recreates the manager. So may that of an earlier pod of the slot, for which the next
    # deletion is still due.
    again = max(left.get(pod.slot, now), now if pod.state is RunnerPodState.FINISHED else now + CLAIM_WINDOW)
    left[pod.slot] = now
    await forget_managers(deps, pool, {pod.slot})
    if again > now:
        left[pod.slot] = max(left.get(pod.slot, again), again)


def list_due_managers(deps: PoolDeps, pool: RunnerPool) -> frozenset[int]:
    """Return the slots whose runner managers are due to be deleted in GitLab."""
    left, now = get_left_managers(deps, (pool.namespace, pool.name)), deps.now()
    return frozenset(slot for slot, due in left.items() if due <= now)


async def forget_managers(deps: PoolDeps, pool: RunnerPool, slots: Collection[int]) -> None:
    """Delete the runner managers of these slots in GitLab, as far as possible; the others are due again later."""
    key = (pool.namespace, pool.name)
    if compute_pause(deps, key) <= 0:
        try:
            facts = await get_manager_facts(deps, pool, frozenset(slots))
            for plan in decide_managers(facts):
                if isinstance(plan.step, (ForgetManager, KeepManager)):
                    await settle_manager(deps, pool, facts, plan.step)
                    await _tell(deps, pool, plan)
        except BessemerError as error:
            put_pause(deps, key, error)
            _log.warning("%s/%s: runner managers of slots %s are left for now: %s", *key, sorted(slots), error)
    left = get_left_managers(deps, key)
    for slot in set(slots) & set(left):
        left[slot] = deps.now() + AGAIN


async def _tell(deps: PoolDeps, pool: RunnerPool, plan: Plan) -> None:
    """Log what was done and why; record an Event if users need to know."""
    level = logging.DEBUG if isinstance(plan.step, (VerifyToken, ListRunners)) else logging.INFO
    _log.log(level, "%s/%s: %s", pool.namespace, pool.name, plan)
    if plan.event is not None:
        await deps.recorder.record(pool.reference(), plan.event)

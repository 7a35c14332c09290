"""Reconciles the runner of a pool, and deletes it: observe, then decide and execute until no step is left."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace

from bessemer.api.names import runner_secret_name
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.errors import BessemerError
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import CLAIM_WINDOW, RunnerFact, RunnerPodFact
from bessemer.kinds.runnerpool.runner.access import list_secrets
from bessemer.kinds.runnerpool.runner.conclude import conclude
from bessemer.kinds.runnerpool.runner.decide import decide_runner, decide_unused
from bessemer.kinds.runnerpool.runner.ending import decide_end
from bessemer.kinds.runnerpool.runner.execute import carry_out, carry_out_end, open_gitlab, settle_manager
from bessemer.kinds.runnerpool.runner.facts import RunnerFacts
from bessemer.kinds.runnerpool.runner.memory import (
    compute_check_seconds,
    compute_pause,
    get_known,
    get_left_managers,
    put_pause,
)
from bessemer.kinds.runnerpool.runner.observe import get_end_facts, get_manager_facts, get_runner_facts
from bessemer.kinds.runnerpool.runner.plan import (
    ForgetManager,
    KeepManager,
    ListRunners,
    Plan,
    RemoveFinalizer,
    VerifyToken,
)
from bessemer.kinds.runnerpool.runner.runner_managers import AGAIN, decide_managers

MOST_STEPS = 1000
"""Maximum steps of one pass. A pool needs at most ten, plus one for each runner without a record."""
_log = logging.getLogger(__name__)


async def keep_runner(deps: PoolDeps, pool: RunnerPool) -> RunnerFact:
    """Bring the pool's runner in line with the spec; missing or invalid inputs are part of the returned fact."""
    key = (pool.namespace, pool.name)
    if pool.spec is None or pool.deleted is not None:
        plan = decide_unused(pool, deps.sources.get_polls(key))
        if plan.step is not None:
            await deps.sources.leave(key)
            await _tell(deps, pool, plan)
        return RunnerFact(False, plan.reason, id=pool.status.runner.id)
    known = get_known(deps, pool)
    # Taken before anything is read: a change during the read is then noticed in the next pass.
    changed = deps.secrets.take_change(key)
    seconds, pause = compute_check_seconds(deps, pool), compute_pause(deps, key)
    if known is not None and not changed and known.is_fresh(pool, deps.now(), seconds, pause):
        return known.fact
    deps.secrets.use(key, {*list_secrets(pool.spec), runner_secret_name(pool.name)})
    facts, plan = await _settle(deps, await _observe(deps, pool, pool.spec))
    put_pause(deps, key, plan.failure)
    deps.memories.get(key).runner = known = conclude(facts, plan, deps.now())
    return known.fact


async def _observe(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec) -> RunnerFacts:
    """Read the facts, and use a GitLab client that matches them: a client with a deleted token is closed."""
    facts = await get_runner_facts(deps, pool, spec)
    access = facts.access
    if access is not None and access.api_token is None and spec.gitlab.api_token_secret is not None:
        await deps.gitlab_clients.leave((pool.namespace, pool.name))
    if access is None or access.problem is not None or facts.problem is not None:
        return facts
    try:
        await open_gitlab(deps, facts)
    except BessemerError as error:
        return replace(facts, problem=error)
    return facts


async def _settle(deps: PoolDeps, facts: RunnerFacts) -> tuple[RunnerFacts, Plan]:
    """Execute decisions until no step is left or a call fails; return the facts and the last plan."""
    for _ in range(MOST_STEPS):
        plan = decide_runner(facts, deps.now())
        if plan.step is None:
            return facts, plan
        try:
            facts = await carry_out(deps, facts, plan.step)
        except BessemerError as error:
            facts = facts.take_failure(plan.step, error)
        else:
            await _tell(deps, facts.pool, plan)
    raise ValueError(f"a runner is not settled after {MOST_STEPS} steps")


@dataclass(frozen=True)
class RunnerEnd:
    """Whether a deleted pool can be finalized as far as its runner is concerned."""

    done: bool
    wait: float = 0.0
    """Seconds until the next try."""
    failure: BessemerError | None = None
    """Why it can't; None while GitLab has requested a pause."""


async def end_runner(deps: PoolDeps, pool: RunnerPool) -> RunnerEnd:
    """Delete the runner of a deleted pool and its managers in GitLab, as far as possible before the deadline."""
    facts = await get_end_facts(deps, pool)
    for _ in range(MOST_STEPS):
        plan = decide_end(facts, deps.now())
        if plan.step is None or isinstance(plan.step, RemoveFinalizer):
            if plan.failure is not None:
                put_pause(deps, (pool.namespace, pool.name), plan.failure)
            await _tell(deps, pool, plan)
            return RunnerEnd(plan.step is not None, plan.wait or 0.0, plan.failure)
        try:
            facts = await carry_out_end(deps, facts, plan.step)
        except BessemerError as error:
            facts = replace(facts, failure=error)
        else:
            await _tell(deps, pool, plan)
    raise ValueError(f"a runner has not ended after {MOST_STEPS} steps")


async def forget_manager(deps: PoolDeps, pool: RunnerPool, pod: RunnerPodFact) -> None:
    """Delete the runner manager of a pod that is gone, or about to be, in GitLab.

    If GitLab can't be reached, this is repeated until it succeeds or the next pod of the slot uses the manager.
    """
    left = get_left_managers(deps, (pool.namespace, pool.name))
    left[pod.slot] = deps.now()
    await _forget_managers(deps, pool, {pod.slot})
    if not pod.ended:
        # The pod was deleted by force: its runner may still run briefly and contact GitLab, which recreates the
        # manager.
        left[pod.slot] = deps.now() + CLAIM_WINDOW


async def forget_due_managers(deps: PoolDeps, pool: RunnerPool) -> None:
    """Delete the runner managers that are due in GitLab, as far as possible."""
    left, now = get_left_managers(deps, (pool.namespace, pool.name)), deps.now()
    await _forget_managers(deps, pool, {slot for slot, due in left.items() if due <= now})


async def _forget_managers(deps: PoolDeps, pool: RunnerPool, slots: Collection[int]) -> None:
    key = (pool.namespace, pool.name)
    if slots and compute_pause(deps, key) <= 0:
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

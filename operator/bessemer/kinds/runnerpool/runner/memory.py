"""What is remembered of a pool's runner between passes. No I/O."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.engine.loop import Key
from bessemer.errors import BessemerError
from bessemer.kinds.runnerpool.demand.interest import compute_asked
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import RETRY_SECONDS
from bessemer.kinds.runnerpool.runner.known import (
    CHECK_SECONDS,
    LONG_AGO,
    REFRESH_PAUSE,
    WATCHED_CHECK_SECONDS,
    Known,
)


def find_known(deps: PoolDeps, key: Key) -> Known | None:
    """Return what is known of the runner of whichever pool has the name."""
    memory = deps.memories.find(key)
    return memory.runner if memory is not None else None


def get_known(deps: PoolDeps, pool: RunnerPool) -> Known | None:
    """Return what is known of this pool's runner; of an earlier pool of its name nothing is."""
    known = find_known(deps, (pool.namespace, pool.name))
    return known if known is not None and known.uid == pool.uid else None


def compute_check_seconds(deps: PoolDeps, pool: RunnerPool) -> int:
    """Return for how long what is known of a pool's runner is good, if nothing is heard."""
    known = get_known(deps, pool)
    if known is None or not known.fact.ready:
        return RETRY_SECONDS
    # Nothing tells the pool of changes of the cluster that its jobs run on.
    slurm = pool.spec.executor.slurm if pool.spec is not None else None
    heard = deps.secrets.are_heard((pool.namespace, pool.name)) and (slurm is None or slurm.cluster_ref is None)
    return WATCHED_CHECK_SECONDS if heard else CHECK_SECONDS


def doubt_runner(deps: PoolDeps, key: Key) -> None:
    """Check Secrets and token in the next pass: something was refused, perhaps because of a rotation."""
    known = find_known(deps, key)
    if known is not None and deps.now() - known.checked >= REFRESH_PAUSE:
        doubted = replace(known.registered, verified=LONG_AGO) if known.registered is not None else None
        deps.memories.get(key).runner = replace(known, checked=LONG_AGO, registered=doubted)


def put_pause(deps: PoolDeps, key: Key, error: BessemerError | None) -> None:
    """Note for how long GitLab asks for no requests, by the error of the last one; None: it does not ask any more.

    Only for what a pool asks about its runner: polls keep their own count.
    """
    asked = compute_asked(error) if error is not None else 0.0
    deps.memories.get(key).pause = deps.now() + timedelta(seconds=asked) if asked > 0 else None


def compute_pause(deps: PoolDeps, key: Key) -> float:
    """Return the seconds that are left of it; 0: ask."""
    until = deps.memories.get(key).pause
    return max(0.0, (until - deps.now()).total_seconds()) if until is not None else 0.0


def get_left_managers(deps: PoolDeps, key: Key) -> dict[int, datetime]:
    """Return the slots whose runner managers GitLab still has, and when it is told next."""
    return deps.memories.get(key).left_managers


def compute_due(deps: PoolDeps, key: Key) -> float | None:
    """Return the seconds until GitLab is told of the next manager; None where none is left."""
    left = deps.memories.get(key).left_managers
    return max(0.0, (min(left.values()) - deps.now()).total_seconds()) if left else None

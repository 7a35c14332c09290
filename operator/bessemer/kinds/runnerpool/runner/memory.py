"""In-memory knowledge about a pool's runner between passes. No I/O."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.engine.gitlabsecrets import may_refresh
from bessemer.engine.loop import Key
from bessemer.errors import BessemerError
from bessemer.kinds.runnerpool.demand.interest import compute_asked
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import RETRY_SECONDS
from bessemer.kinds.runnerpool.runner.known import (
    CHECK_SECONDS,
    LONG_AGO,
    WATCHED_CHECK_SECONDS,
    Known,
)


def find_known(deps: PoolDeps, key: Key) -> Known | None:
    """Return the knowledge about the runner of the pool with this name, whatever its UID."""
    memory = deps.memories.find(key)
    return memory.runner if memory is not None else None


def get_known(deps: PoolDeps, pool: RunnerPool) -> Known | None:
    """Return the knowledge about this pool's runner, none about an earlier pool of the same name."""
    known = find_known(deps, (pool.namespace, pool.name))
    return known if known is not None and known.uid == pool.uid else None


def compute_check_seconds(deps: PoolDeps, pool: RunnerPool) -> int:
    """Return how long knowledge about a pool's runner is valid without events."""
    known = get_known(deps, pool)
    if known is None or not known.fact.ready:
        return RETRY_SECONDS
    # No event reports changes of the cluster on which the pool's jobs run.
    slurm = pool.spec.executor.slurm if pool.spec is not None else None
    heard = deps.secrets.are_heard((pool.namespace, pool.name)) and (slurm is None or slurm.cluster_ref is None)
    return WATCHED_CHECK_SECONDS if heard else CHECK_SECONDS


def doubt_runner(deps: PoolDeps, key: Key) -> None:
    """Check Secrets and token in the next pass: something was refused, perhaps because of a rotation."""
    known = find_known(deps, key)
    if known is not None and may_refresh(known.checked, deps.now()):
        doubted = replace(known.registered, verified=LONG_AGO) if known.registered is not None else None
        deps.memories.get(key).runner = replace(known, checked=LONG_AGO, registered=doubted)


def put_pause(deps: PoolDeps, key: Key, error: BessemerError | None) -> None:
    """Store the pause that GitLab requests with an error; None: it no longer requests one.

    Only for requests about the pool's runner: polls have separate pauses.
    """
    asked = compute_asked(error) if error is not None else 0.0
    deps.memories.get(key).pause = deps.now() + timedelta(seconds=asked) if asked > 0 else None


def compute_pause(deps: PoolDeps, key: Key) -> float:
    """Return the remaining seconds of the pause; 0: requests are allowed."""
    until = deps.memories.get(key).pause
    return max(0.0, (until - deps.now()).total_seconds()) if until is not None else 0.0


def get_left_managers(deps: PoolDeps, key: Key) -> dict[int, datetime]:
    """Return the slots whose runner managers are left in GitLab, with the time of the next try to delete each."""
    return deps.memories.get(key).left_managers


def compute_due(deps: PoolDeps, key: Key) -> float | None:
    """Return the seconds until the next try to delete a runner manager; None if none is left."""
    left = deps.memories.get(key).left_managers
    return max(0.0, (min(left.values()) - deps.now()).total_seconds()) if left else None

"""Have GitLab forget the managers of a pool's runner: the records of pods that took a job and are gone."""

from __future__ import annotations

import logging
from datetime import timedelta

from bessemer.api.names import runner_system_id
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.engine.loop import Key
from bessemer.errors import BessemerError, Invalid
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import CLAIM_WINDOW, RunnerPodFact
from bessemer.kinds.runnerpool.runner.access import SecretMissing, get_access
from bessemer.kinds.runnerpool.runner.known import LONG_AGO, Registered, find_parting, get_known
from bessemer.kinds.runnerpool.runner.managed import parse_record
from bessemer.kinds.runnerpool.runner.pauses import compute_pause, put_pause
from bessemer.kinds.runnerpool.runner.record_secret import get_pool_secret

AGAIN = timedelta(seconds=30)
"""How often it is tried to tell GitLab what it could not be told."""
_log = logging.getLogger(__name__)


async def delete_manager(deps: PoolDeps, pool: RunnerPool, pod: RunnerPodFact) -> None:
    """Have GitLab forget the manager of a pod that is gone, or about to. Where it can't be told, it is tried again
    until it can be, or until the next pod of the slot takes the record over.
    """
    left = deps.left_managers.setdefault((pool.namespace, pool.name), {})
    left[pod.slot] = deps.now()
    await _tell(deps, pool, {pod.slot})
    if not pod.ended:
        # It was deleted by force: its runner may live for a moment longer, and ask GitLab, which takes it down anew.
        left[pod.slot] = deps.now() + CLAIM_WINDOW


async def settle_managers(deps: PoolDeps, pool: RunnerPool) -> None:
    """Have GitLab forget what it is time for, as far as it can be told."""
    left, now = deps.left_managers.get((pool.namespace, pool.name), {}), deps.now()
    await _tell(deps, pool, {slot for slot, when in left.items() if when <= now})


async def _tell(deps: PoolDeps, pool: RunnerPool, slots: set[int]) -> None:
    key, left = (pool.namespace, pool.name), deps.left_managers.get((pool.namespace, pool.name), {})
    if slots and compute_pause(deps, key) <= 0:
        try:
            await _delete_managers(deps, pool, slots)
        except BessemerError as error:
            put_pause(deps, key, error)
            _log.warning("%s/%s: managers of slots %s are left for now: %s", *key, sorted(slots), error)
    for slot in slots & set(left):
        left[slot] = deps.now() + AGAIN


async def delete_left_managers(deps: PoolDeps, pool: RunnerPool) -> None:
    """Have GitLab forget all that is left, as the pool goes; raises what keeps that from being done."""
    await _delete_managers(deps, pool, set(deps.left_managers.get((pool.namespace, pool.name), ())))


def compute_due(deps: PoolDeps, key: Key) -> float | None:
    """Give the seconds until GitLab is to be told of the next manager; None where none is left."""
    left = deps.left_managers.get(key)
    return max(0.0, (min(left.values()) - deps.now()).total_seconds()) if left else None


async def _delete_managers(deps: PoolDeps, pool: RunnerPool, slots: set[int]) -> None:
    """Have GitLab forget the managers of these slots, but for those that are in use again; raises what keeps that from
    being done.
    """
    key = (pool.namespace, pool.name)
    left = deps.left_managers.get(key, {})
    used = {pod.slot for pod in deps.pods.list_pods(key).values() if pod.live}
    for slot in slots & used:
        left.pop(slot, None)
    if not slots - used:
        return
    known = get_known(deps, pool)
    parting = find_parting(known, pool) or known
    at = parting.registered if parting is not None else await _find_registered(deps, pool)
    if at is None:
        return
    # Where the runner is, which is not where the spec says once that was changed. The runner's own token is enough.
    access = parting.access if parting is not None else None
    gitlab = await deps.doors.use(key, at.url, access.api_token if access is not None else None, at.ca)
    for slot in sorted(slots - used):
        await gitlab.delete_manager(at.token, runner_system_id(pool.uid, slot))
        left.pop(slot, None)


async def _find_registered(deps: PoolDeps, pool: RunnerPool) -> Registered | None:
    """Read where the runner of a pool is that was deleted before this process has looked at it.

    None where that can't be found out any more: the Secrets of a namespace that is deleted go before its pools.
    """
    if pool.spec is None:
        return None
    spec, namespace = pool.spec, pool.namespace
    try:
        record = parse_record(await get_pool_secret(deps, pool))
        access = await get_access(deps, namespace, spec)
        access.require()
    except (SecretMissing, Invalid) as error:
        _log.info("%s/%s: managers are left: %s", namespace, pool.name, error)
        return None
    if record is not None:
        return Registered(record.url, access.ca, record.registration.token, LONG_AGO)
    token = access.runner_token
    return None if token is None else Registered(spec.gitlab.url, access.ca, token, LONG_AGO)

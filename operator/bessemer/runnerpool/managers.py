"""Have GitLab forget the managers of a pool's runner: the records of pods that took a job and are gone."""

from __future__ import annotations

import logging

from bessemer.errors import BessemerError, Invalid
from bessemer.names import runner_system_id
from bessemer.runnerpool.access import SecretMissing, get_secret
from bessemer.runnerpool.deps import PoolDeps
from bessemer.runnerpool.known import LONG_AGO, Registered, get_known
from bessemer.runnerpool.managed import parse_record
from bessemer.runnerpool.pauses import compute_pause, put_pause
from bessemer.runnerpool.poolsecret import get_pool_secret
from bessemer.runnerpool.resource import RunnerPool

_log = logging.getLogger(__name__)


async def delete_manager(deps: PoolDeps, pool: RunnerPool, slot: int) -> None:
    """Have GitLab forget the manager of a slot; where it can't be told, it is tried again until it can, or until the
    next pod of the slot takes the record over.
    """
    key = (pool.namespace, pool.name)
    deps.left_managers.setdefault(key, set()).add(slot)
    if compute_pause(deps, key) > 0:
        return
    try:
        await _delete_managers(deps, pool, {slot})
    except BessemerError as error:
        put_pause(deps, key, error)
        _log.warning("%s/%s: manager of slot %d is left for now: %s", pool.namespace, pool.name, slot, error)


async def delete_left_managers(deps: PoolDeps, pool: RunnerPool) -> None:
    """Try again to have the managers forgotten that GitLab could not be told of, but for slots that are in use again.

    Raises what keeps that from being done.
    """
    key = (pool.namespace, pool.name)
    left = deps.left_managers.setdefault(key, set())
    left -= {pod.slot for pod in deps.pods.list_pods(key).values() if pod.live}
    await _delete_managers(deps, pool, left)


async def _delete_managers(deps: PoolDeps, pool: RunnerPool, slots: set[int]) -> None:
    """Have GitLab forget the managers of these slots; raises what keeps that from being done."""
    if not slots:
        return
    known = get_known(deps, pool)
    at = known.registered if known is not None else await _find_registered(deps, pool)
    if at is None:
        return
    key = (pool.namespace, pool.name)
    # Where the runner is, which is not where the spec says once that was changed. The runner's own token is enough.
    access = known.access if known is not None else None
    gitlab = await deps.doors.use(key, at.url, access.api_token if access is not None else None, at.ca)
    for slot in sorted(slots):
        await gitlab.delete_manager(at.token, runner_system_id(pool.uid, slot))
        deps.left_managers[key].discard(slot)


async def _find_registered(deps: PoolDeps, pool: RunnerPool) -> Registered | None:
    """Read where the runner of a pool is that was deleted before this process has looked at it.

    None where that can't be found out any more: the Secrets of a namespace that is deleted go before its pools.
    """
    if pool.spec is None:
        return None
    spec, namespace = pool.spec, pool.namespace
    try:
        record = parse_record(await get_pool_secret(deps, pool))
        ca = await get_secret(deps, namespace, spec.gitlab.ca_secret, "spec.gitlab.caSecret")
        if record is not None:
            return Registered(record.url, ca, record.registration.token, LONG_AGO)
        token = await get_secret(deps, namespace, spec.runner.token_secret, "spec.runner.tokenSecret")
    except (SecretMissing, Invalid) as error:
        _log.info("%s/%s: managers are left: %s", namespace, pool.name, error)
        return None
    return None if token is None else Registered(spec.gitlab.url, ca, token, LONG_AGO)

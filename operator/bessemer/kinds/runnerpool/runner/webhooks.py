"""The secret with which webhooks of a pool authenticate."""

from __future__ import annotations

from dataclasses import replace

from bessemer.api.runnerpool.resource import parse_runner_pool
from bessemer.engine.gitlabsecrets import may_refresh, read_webhook_secret
from bessemer.engine.loop import Key
from bessemer.errors import BessemerError
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.memory import find_known, get_known


def get_webhook_access(deps: PoolDeps, key: Key) -> Access | None:
    """Return the values with which webhooks authenticate; None for a pool that is unknown or accepts none."""
    known = find_known(deps, key)
    access = known.access if known is not None else None
    return access if access is not None and access.takes_webhooks else None


async def refresh_webhook_secret(deps: PoolDeps, key: Key) -> str | None:
    """Read the secret again, because a mismatch may mean that the known one is outdated; at a limited rate."""
    known = find_known(deps, key)
    pool = deps.pools.parse(key, parse_runner_pool)
    if known is None or known.access is None or pool is None or not may_refresh(known.refreshed, deps.now()):
        return None
    deps.memories.get(key).runner = known = replace(known, refreshed=deps.now())
    if pool.spec is None:
        return None
    try:
        secret = await read_webhook_secret(deps, pool.namespace, pool.spec.gitlab)
    except BessemerError:
        return None
    # The current knowledge: a pass may have ended in the meantime.
    known = get_known(deps, pool)
    if known is not None and known.access is not None:
        deps.memories.get(key).runner = replace(known, access=replace(known.access, webhook_secret=secret))
    return secret

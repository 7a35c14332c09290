"""Show on a pool why its pass failed, and finalize it if it was deleted too long ago."""

from __future__ import annotations

from bessemer.api.runnerpool.resource import KIND
from bessemer.api.wellknown import POOL_FINALIZER
from bessemer.engine.event_facts import EventFact
from bessemer.engine.faults import Fault, decide_fault
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kube.protocol import RUNNER_POOLS


async def show_pool_fault(deps: PoolDeps, key: tuple[str, str], fault: Fault) -> None:
    """Write condition and event where they are new; raises what Kubernetes does."""
    raw = deps.pools.get(key)
    if raw is None:
        return
    notice = decide_fault(raw, fault, KIND, POOL_FINALIZER, deps.settings.deletion_seconds, deps.now())
    if notice is None:
        return
    await deps.recorder.record(notice.reference, EventFact("Warning", notice.event.reason, notice.event.message))
    written = await deps.kubernetes.patch_object(RUNNER_POOLS, *key, notice.patch, subresource=notice.subresource)
    if notice.subresource and written is not None and key in deps.pools:
        deps.pools[key] = written

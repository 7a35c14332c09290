"""Show on a pool why its pass failed, and let it go where it was deleted too long ago."""

from __future__ import annotations

from bessemer.faults import ABANDONED, Fault, build_fault_status, build_reference, build_release, is_overdue
from bessemer.kube.client import RUNNER_POOLS
from bessemer.kube.events import EventFact
from bessemer.runnerpool.deps import PoolDeps
from bessemer.runnerpool.resource import KIND
from bessemer.wellknown import POOL_FINALIZER


async def show_pool_fault(deps: PoolDeps, key: tuple[str, str], fault: Fault) -> None:
    """Write condition and event where they are new; raises what Kubernetes does."""
    raw = deps.pools.get(key)
    if raw is None:
        return
    now = deps.now()
    reference = build_reference(raw, KIND)
    if is_overdue(raw, deps.settings.deletion_seconds, now):
        text = f"not done within {deps.settings.deletion_seconds} s: {fault.reason}: {fault.message}"
        await deps.recorder.record(reference, EventFact("Warning", ABANDONED, text))
        await deps.kubernetes.patch_object(RUNNER_POOLS, *key, build_release(raw, POOL_FINALIZER))
        return
    patch = build_fault_status(raw, fault, now)
    if patch is not None:
        await deps.recorder.record(reference, EventFact("Warning", fault.reason, fault.message))
        written = await deps.kubernetes.patch_object(RUNNER_POOLS, *key, patch, subresource="status")
        if written is not None and key in deps.pools:
            deps.pools[key] = written

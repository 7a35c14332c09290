"""Show on a build why its pass failed, and let it go where it was deleted too long ago."""

from __future__ import annotations

from bessemer.clusterbuild.resource import KIND
from bessemer.deps import Deps
from bessemer.faults import ABANDONED, Fault, build_fault_status, build_reference, build_release, is_overdue
from bessemer.kube.client import CLUSTER_BUILDS
from bessemer.kube.events import EventFact
from bessemer.wellknown import BUILD_FINALIZER


async def show_build_fault(deps: Deps, key: tuple[str, str], fault: Fault) -> None:
    """Write condition and event where they are new; raises what Kubernetes does."""
    raw = await deps.kubernetes.get_object(CLUSTER_BUILDS, *key)
    if raw is None:
        return
    now = deps.now()
    reference = build_reference(raw, KIND)
    if is_overdue(raw, deps.settings.deletion_seconds, now):
        text = f"not done within {deps.settings.deletion_seconds} s: {fault.reason}: {fault.message}"
        await deps.recorder.record(reference, EventFact("Warning", ABANDONED, text))
        await deps.kubernetes.patch_object(CLUSTER_BUILDS, *key, build_release(raw, BUILD_FINALIZER))
        return
    patch = build_fault_status(raw, fault, now)
    if patch is not None:
        await deps.recorder.record(reference, EventFact("Warning", fault.reason, fault.message))
        await deps.kubernetes.patch_object(CLUSTER_BUILDS, *key, patch, subresource="status")

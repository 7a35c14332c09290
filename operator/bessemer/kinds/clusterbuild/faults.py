"""Show on a build why its pass failed, and finalize it if it was deleted too long ago."""

from __future__ import annotations

from bessemer.api.clusterbuild.resource import KIND
from bessemer.api.wellknown import BUILD_FINALIZER
from bessemer.engine.event_facts import EventFact
from bessemer.engine.faults import Fault, decide_fault
from bessemer.kinds.clusterbuild.deps import Deps
from bessemer.kube.protocol import CLUSTER_BUILDS


async def show_build_fault(deps: Deps, key: tuple[str, str], fault: Fault) -> None:
    """Write condition and event where they are new; raises what Kubernetes does."""
    raw = await deps.kubernetes.get_object(CLUSTER_BUILDS, *key)
    if raw is None:
        return
    notice = decide_fault(raw, fault, KIND, BUILD_FINALIZER, deps.settings.deletion_seconds, deps.now())
    if notice is None:
        return
    await deps.recorder.record(notice.reference, EventFact("Warning", notice.event.reason, notice.event.message))
    await deps.kubernetes.patch_object(CLUSTER_BUILDS, *key, notice.patch, subresource=notice.subresource)

"""Take away what only the operator would, once it is gone: its finalizers and its Leases."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.wellknown import (
    BUILD_FINALIZER,
    BUILD_LABEL,
    LEADER_LEASE,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    POOL_FINALIZER,
    RESULT_FINALIZER,
)
from bessemer.kinds.clusterbuild.claims import LEASE_PREFIX
from bessemer.kube.protocol import CLUSTER_BUILDS, LEASES, PODS, RUNNER_POOLS, Kind, Kubernetes

EVERYWHERE = ("",)
"""As namespaces: all of them."""


async def delete_finalizers(kubernetes: Kubernetes, namespaces: Sequence[str] = EVERYWHERE) -> int:
    """Take Bessemer's finalizers off all builds, pools and phase pods; return how many objects had one."""
    freed = 0
    for namespace in namespaces:
        freed += await _strip(kubernetes, CLUSTER_BUILDS, namespace, BUILD_FINALIZER)
        freed += await _strip(kubernetes, RUNNER_POOLS, namespace, POOL_FINALIZER)
        freed += await _strip(kubernetes, PODS, namespace, RESULT_FINALIZER, labels=BUILD_LABEL)
    return freed


async def delete_leases(kubernetes: Kubernetes, namespace: str) -> int:
    """Delete the Leases of the leader and of all machines; return how many of the latter there were.

    Builds that are still there claim their machines again as soon as an operator is installed again.
    """
    await kubernetes.delete_object(LEASES, namespace, LEADER_LEASE)
    found = await kubernetes.list_objects(LEASES, namespace, labels=f"{MANAGED_BY_LABEL}={MANAGED_BY}")
    leases = [lease for lease in found if lease["metadata"]["name"].startswith(LEASE_PREFIX)]
    for lease in leases:
        await kubernetes.delete_object(LEASES, namespace, lease["metadata"]["name"])
    return len(leases)


async def _strip(kubernetes: Kubernetes, kind: Kind, namespace: str, finalizer: str, labels: str = "") -> int:
    found = 0
    for raw in await kubernetes.list_objects(kind, namespace, labels=labels):
        metadata = raw["metadata"]
        left = [name for name in metadata.get("finalizers") or () if name != finalizer]
        if len(left) != len(metadata.get("finalizers") or ()):
            found += 1
            patch = {"metadata": {"finalizers": left, "resourceVersion": metadata["resourceVersion"]}}
            await kubernetes.patch_object(kind, metadata["namespace"], metadata["name"], patch)
    return found

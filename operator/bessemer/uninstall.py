"""Take away what only the operator would, once it is gone: its finalizers, and Leases that nobody holds any more."""

from __future__ import annotations

from bessemer.kube.client import CLUSTER_BUILDS, LEASES, PODS, RUNNER_POOLS, Kind, Kubernetes
from bessemer.wellknown import (
    BUILD_FINALIZER,
    BUILD_LABEL,
    BUILD_UID_LABEL,
    LEADER_LEASE,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    POOL_FINALIZER,
    RESULT_FINALIZER,
)


async def delete_finalizers(kubernetes: Kubernetes) -> int:
    """Take our finalizers off all builds, pools and phase pods of the cluster; give how many objects had one."""
    builds = await _strip(kubernetes, CLUSTER_BUILDS, "", BUILD_FINALIZER)
    pools = await _strip(kubernetes, RUNNER_POOLS, "", POOL_FINALIZER)
    return builds + pools + await _strip(kubernetes, PODS, BUILD_LABEL, RESULT_FINALIZER)


async def delete_leases(kubernetes: Kubernetes, namespace: str) -> int:
    """Delete the leader's Lease and those of machines whose build is gone; give how many of the latter there were.

    A build that is still there keeps its machines: an operator that is installed again must not give them to another.
    """
    await kubernetes.delete_object(LEASES, namespace, LEADER_LEASE)
    builds = {raw["metadata"]["uid"] for raw in await kubernetes.list_objects(CLUSTER_BUILDS, "")}
    leases = await kubernetes.list_objects(LEASES, namespace, labels=f"{MANAGED_BY_LABEL}={MANAGED_BY}")
    stale = [lease for lease in leases if lease["metadata"]["labels"].get(BUILD_UID_LABEL) not in builds]
    for lease in stale:
        await kubernetes.delete_object(LEASES, namespace, lease["metadata"]["name"])
    return len(stale)


async def _strip(kubernetes: Kubernetes, kind: Kind, labels: str, finalizer: str) -> int:
    found = 0
    for raw in await kubernetes.list_objects(kind, "", labels=labels):
        metadata = raw["metadata"]
        left = [name for name in metadata.get("finalizers") or () if name != finalizer]
        if len(left) != len(metadata.get("finalizers") or ()):
            found += 1
            patch = {"metadata": {"finalizers": left, "resourceVersion": metadata["resourceVersion"]}}
            await kubernetes.patch_object(kind, metadata["namespace"], metadata["name"], patch)
    return found

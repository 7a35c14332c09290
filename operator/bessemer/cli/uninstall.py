"""Take away what only the operator would, once it is gone: its finalizers and its Leases."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer import registry
from bessemer.api.wellknown import LEADER_LEASE, MANAGED_BY, MANAGED_BY_LABEL
from bessemer.kube.protocol import LEASES, Kind, Kubernetes

EVERYWHERE = ("",)
"""As namespaces: all of them."""


async def delete_finalizers(kubernetes: Kubernetes, namespaces: Sequence[str] = EVERYWHERE) -> int:
    """Take the finalizers of all kinds off their objects and those that they set on others; return how many had one."""
    freed = 0
    for namespace in namespaces:
        for kind in registry.KINDS:
            freed += await _strip(kubernetes, kind.resource, namespace, kind.finalizer)
            for left in kind.leftovers:
                freed += await _strip(kubernetes, left.resource, namespace, left.finalizer, labels=left.label)
    return freed


async def delete_leases(kubernetes: Kubernetes, namespace: str) -> int:
    """Delete the Leases of the leader and of the kinds, such as of machines; return how many of the latter there were.

    Builds that are still there claim their machines again as soon as an operator is installed again.
    """
    await kubernetes.delete_object(LEASES, namespace, LEADER_LEASE)
    prefixes = tuple(kind.lease_prefix for kind in registry.KINDS if kind.lease_prefix is not None)
    found = await kubernetes.list_objects(LEASES, namespace, labels=f"{MANAGED_BY_LABEL}={MANAGED_BY}")
    leases = [lease for lease in found if lease["metadata"]["name"].startswith(prefixes)]
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

"""Take all of our finalizers off, once the operator is gone and nobody else would."""

from __future__ import annotations

from bessemer.kube.client import CLUSTER_BUILDS, PODS, Kind, Kubernetes
from bessemer.wellknown import BUILD_FINALIZER, BUILD_LABEL, RESULT_FINALIZER


async def delete_finalizers(kubernetes: Kubernetes) -> int:
    """Take our finalizers off all builds and phase pods of the cluster; give how many objects had one."""
    builds = await _strip(kubernetes, CLUSTER_BUILDS, "", BUILD_FINALIZER)
    return builds + await _strip(kubernetes, PODS, BUILD_LABEL, RESULT_FINALIZER)


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

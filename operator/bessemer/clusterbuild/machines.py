"""Claim machines: a Lease for each, so that no two builds ever work on the same one."""

from __future__ import annotations

from bessemer.clusterbuild.manifest import build_lease
from bessemer.clusterbuild.resource import ClusterBuild
from bessemer.deps import Deps
from bessemer.kube.client import CLUSTER_BUILDS, LEASES, AlreadyExists, Conflict, Object
from bessemer.wellknown import BUILD_UID_LABEL, MANAGED_BY, MANAGED_BY_LABEL


async def create_claims(deps: Deps, build: ClusterBuild, leases: tuple[str, ...]) -> tuple[list[str], str]:
    """Claim machines in the order given, up to the first that another build holds.

    Gives the Leases now held and, where there was one, the conflict in a sentence. What was claimed stays claimed while
    the build waits for the rest: all builds claim in the same order, so none can wait for each other in a ring.
    """
    held: list[str] = []
    for lease in leases:
        conflict = await _claim(deps, build, lease)
        if conflict:
            return held, conflict
        held.append(lease)
    return held, ""


async def delete_claims(deps: Deps, namespace: str, name: str) -> None:
    """Release the machines of a build that has vanished without doing so, as when somebody took our finalizer off."""
    holder = f"{namespace}/{name}"
    leases = await deps.kubernetes.list_objects(
        LEASES, deps.settings.namespace, labels=f"{MANAGED_BY_LABEL}={MANAGED_BY}"
    )
    for lease in leases:
        if (lease.get("spec") or {}).get("holderIdentity") == holder:
            version = lease["metadata"]["resourceVersion"]  # another build may take it over at this moment
            await deps.kubernetes.delete_object(
                LEASES, deps.settings.namespace, lease["metadata"]["name"], version=version
            )


async def _claim(deps: Deps, build: ClusterBuild, lease: str) -> str:
    wanted = build_lease(build, lease, deps.settings.namespace)
    try:
        await deps.kubernetes.create_object(LEASES, deps.settings.namespace, wanted)
    except AlreadyExists:
        return await _take_over(deps, build, lease, wanted)
    return ""


async def _take_over(deps: Deps, build: ClusterBuild, lease: str, wanted: Object) -> str:
    """Take a Lease that is there already, if it is ours or its holder has vanished; else name the holder."""
    found = await deps.kubernetes.get_object(LEASES, deps.settings.namespace, lease)
    if found is None:
        return f"Lease {lease} has just been released"
    holder_uid = (found["metadata"].get("labels") or {}).get(BUILD_UID_LABEL, "")
    holder = (found.get("spec") or {}).get("holderIdentity", "")
    if holder_uid == build.uid:
        return ""
    namespace, _, name = holder.partition("/")
    other = await deps.kubernetes.get_object(CLUSTER_BUILDS, namespace, name) if name else None
    if other is not None and other["metadata"]["uid"] == holder_uid:
        return f"Lease {lease} is held by ClusterBuild {holder}"
    version = found["metadata"]["resourceVersion"]
    patch = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}
    try:
        await deps.kubernetes.patch_object(LEASES, deps.settings.namespace, lease, patch)
    except Conflict:
        return f"Lease {lease} was taken by another build at this moment"
    return ""

"""Claims machines by Leases, so that no two builds ever work on the same machine."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.clusterbuild.resource import ClusterBuild
from bessemer.api.wellknown import BUILD_UID_LABEL, MACHINE_LEASE_PREFIX, MANAGED_BY, MANAGED_BY_LABEL
from bessemer.kinds.clusterbuild.claims import Claim
from bessemer.kinds.clusterbuild.deps import Deps
from bessemer.kinds.clusterbuild.objects import build_lease
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kube.protocol import LEASES, AlreadyExists, Conflict, Object, Refused

ANOTHER = "another build"
"""Shown instead of the name of a build in another namespace, which this build's users may not see."""
_OURS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"


async def create_claims(deps: Deps, build: ClusterBuild, claims: Sequence[Claim]) -> tuple[frozenset[str], str]:
    """Claim all of ``claims``, or none if another build holds one of them.

    Returns the names of the Leases that were taken, and a conflict (if any) as a sentence. All builds take Leases in
    the order of their names, so of two builds that want the same ones, one always succeeds. Holders are checked before
    any write, so that a waiting build costs one request.
    """
    holders: dict[str, str] = {}
    leases = await deps.kubernetes.list_objects(LEASES, deps.settings.namespace, labels=_OURS)
    found = {lease["metadata"]["name"]: lease for lease in leases}
    ordered = sorted(claims)
    for claim in ordered:
        holder = await _find_holder(deps, build, found.get(claim.lease), holders)
        if holder:
            return frozenset(), _explain(claim, holder)
    held: list[str] = []
    for claim in ordered:
        holder = await _claim(deps, build, claim, found.get(claim.lease))
        if holder:
            for lease in held:
                await deps.kubernetes.delete_object(LEASES, deps.settings.namespace, lease)
            return frozenset(), _explain(claim, holder)
        held.append(claim.lease)
    return frozenset(held), ""


async def delete_claims(deps: Deps, namespace: str, name: str) -> None:
    """Release the machines of a deleted build that did not do so, for example if a user removed its finalizer."""
    holder = f"{namespace}/{name}"
    for lease in await deps.kubernetes.list_objects(LEASES, deps.settings.namespace, labels=_OURS):
        lease_name = lease["metadata"]["name"]
        if lease_name.startswith(MACHINE_LEASE_PREFIX) and (lease.get("spec") or {}).get("holderIdentity") == holder:
            version = lease["metadata"]["resourceVersion"]  # another build may take the Lease at this moment
            await deps.kubernetes.delete_object(LEASES, deps.settings.namespace, lease_name, version=version)


def _explain(claim: Claim, holder: str) -> str:
    return f"{claim.what} is held by {holder} (Lease {claim.lease})"


async def _claim(deps: Deps, build: ClusterBuild, claim: Claim, found: Object | None) -> str:
    """Take one Lease, from a deleted build if it holds it; return which build was faster, "" if the Lease is ours."""
    wanted = build_lease(build, claim, deps.settings.namespace)
    try:
        if found is None:
            await deps.kubernetes.create_object(LEASES, deps.settings.namespace, wanted)
            return ""
        version = found["metadata"]["resourceVersion"]
        patch = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}
        taken = await deps.kubernetes.patch_object(LEASES, deps.settings.namespace, claim.lease, patch)
    except (AlreadyExists, Conflict):
        return ANOTHER
    return "" if taken is not None else ANOTHER


async def _find_holder(deps: Deps, build: ClusterBuild, lease: Object | None, holders: dict[str, str]) -> str:
    """Return a description of the other build that holds a Lease; "" if the Lease may be taken.

    ``holders`` caches the builds that have been looked up.
    """
    if lease is None:
        return ""
    uid = (lease["metadata"].get("labels") or {}).get(BUILD_UID_LABEL, "")
    if uid == build.uid:
        return ""
    if uid not in holders:
        holders[uid] = await _ask_for_holder(deps, build, uid, (lease.get("spec") or {}).get("holderIdentity") or "")
    return holders[uid]


async def _ask_for_holder(deps: Deps, build: ClusterBuild, uid: str, identity: str) -> str:
    namespace, _, name = identity.partition("/")
    if not name:
        return ""
    try:
        other = await deps.kubernetes.get_object(CLUSTER_BUILDS, namespace, name)
    except Refused:
        return ANOTHER  # in a namespace that this operator may no longer read
    if other is None or other["metadata"]["uid"] != uid:
        return ""
    return f"ClusterBuild {name}" if namespace == build.namespace else ANOTHER

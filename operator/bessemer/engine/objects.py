"""Objects that we create: once, whenever we die, and known again by their owner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bessemer.engine.refusals import NAME_TAKEN
from bessemer.errors import Retry
from bessemer.kube.protocol import AlreadyExists, Kind, Kubernetes, Object, Refused


def is_owned(raw: Mapping[str, Any], uid: str) -> bool:
    """Return whether an object belongs to the owner with this UID."""
    owners = raw["metadata"].get("ownerReferences")
    return isinstance(owners, list) and any(isinstance(owner, Mapping) and owner.get("uid") == uid for owner in owners)


async def create_or_adopt(
    kubernetes: Kubernetes, kind: Kind, namespace: str, body: Object, is_ours: Callable[[Object], bool]
) -> Object:
    """Create an object, or return the one of its name where that is ours: we made it, and died before we noted that.

    Raises:
        Refused: NameTaken, or what quota or admission said.
        Retry: Vanished, it was there and is not any more.

    """
    name = body["metadata"]["name"]
    try:
        return await kubernetes.create_object(kind, namespace, body)
    except AlreadyExists as error:
        found = await kubernetes.get_object(kind, namespace, name)
        what = f"{body.get('kind', kind.plural)} {name}"
        if found is None:
            raise Retry("Vanished", f"{what} has just been deleted", after=0) from error
        if not is_ours(found):
            raise Refused(NAME_TAKEN, f"{what} exists and belongs to something else; delete it if it stays") from error
        return found

"""Creation of objects that must exist once, even if the process dies at any point; recognized by their owner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bessemer.api.reasons import NAME_TAKEN
from bessemer.errors import Retry
from bessemer.kube.protocol import AlreadyExists, Kind, Kubernetes, Object, Refused


def is_owned(raw: Mapping[str, Any], uid: str) -> bool:
    """Return whether an object belongs to the owner with this UID."""
    owners = raw["metadata"].get("ownerReferences")
    return isinstance(owners, list) and any(isinstance(owner, Mapping) and owner.get("uid") == uid for owner in owners)


async def create_or_adopt(
    kubernetes: Kubernetes, kind: Kind, namespace: str, body: Object, is_ours: Callable[[Object], bool]
) -> Object:
    """Create an object, or return our own object of that name, which an interrupted pass may have created.

    Raises:
        Refused: NameTaken, or the reason given by quota or admission.
        Retry: Vanished, the object existed and has just been deleted.
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

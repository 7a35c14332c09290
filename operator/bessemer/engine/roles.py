"""The rules of the chart's roles: what the engine needs for each kind, and what the kinds need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bessemer.api.group import GROUP, VERSION
from bessemer.api.wellknown import LEADER_LEASE
from bessemer.engine.description import Description, Permission
from bessemer.kube.protocol import EVENTS, LEASES, Kind

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind")
"""In the order in which a rule lists them."""
ENGINE = (
    Permission(EVENTS, ("create", "patch")),
    # The leader watches its own Lease, to know that it still hears anything.
    Permission(LEASES, ("list", "watch"), (LEADER_LEASE,)),
)
"""In the watched namespaces, whatever the kinds are."""
ELECTION = Permission(LEASES, ("get", "create", "patch", "delete"))
"""In the operator's own namespace."""
_EDITOR = ("create", "update", "patch", "delete", "deletecollection")
_READER = ("get", "list", "watch")


def build_roles(kinds: Sequence[Description]) -> dict[str, list[dict[str, Any]]]:
    """Return the rules by role.

    ``watched``: the operator in the watched namespaces; a rule with ``when`` is for the installs where that holds.
    ``own``: the operator in its own namespace. ``uninstall``: the uninstaller in the watched namespaces. ``view`` and
    ``edit``: users.
    """
    watched = [permission for kind in kinds for permission in (*_list_for_objects(kind), *kind.permissions)]
    own = [ELECTION, *(permission for kind in kinds for permission in kind.own_permissions)]
    view, edit = [], []
    for kind in kinds:
        view += [Permission(kind.resource, _READER), Permission(_narrow(kind, "status"), ("get",))]
        edit.append(Permission(kind.resource, _EDITOR))
        if kind.get_crd().scale is not None:
            view.append(Permission(_narrow(kind, "scale"), ("get",)))
            edit.append(Permission(_narrow(kind, "scale"), ("update", "patch")))
    return {
        "watched": _merge([*watched, *ENGINE]),
        "own": _merge(own),
        "uninstall": _merge(_list_for_uninstaller(kinds)),
        "view": _merge(view),
        "edit": _merge(edit),
    }


def _list_for_objects(kind: Description) -> list[Permission]:
    return [
        Permission(kind.resource, ("list", "watch", "patch")),
        Permission(_narrow(kind, "status"), ("patch",)),
        # Set in the owner references of what is created for an object, with blockOwnerDeletion.
        Permission(_narrow(kind, "finalizers"), ("update",)),
    ]


def _list_for_uninstaller(kinds: Iterable[Description]) -> list[Permission]:
    touched = [resource for kind in kinds for resource in (kind.resource, *(left.resource for left in kind.leftovers))]
    return [Permission(resource, ("list", "patch")) for resource in touched]


def _narrow(kind: Description, subresource: str) -> Kind:
    return Kind(GROUP, VERSION, f"{kind.plural}/{subresource}")


def _merge(permissions: Iterable[Permission]) -> list[dict[str, Any]]:
    """Return one rule for each resource, set of names and condition, with the verbs of all that ask for it."""
    found: dict[tuple[str, str, tuple[str, ...], str], set[str]] = {}
    for permission in permissions:
        key = (permission.resource.group, permission.resource.plural, permission.names, permission.when)
        found.setdefault(key, set()).update(permission.verbs)
    return [
        {
            "apiGroups": [group],
            "resources": [plural],
            **({"resourceNames": list(names)} if names else {}),
            "verbs": sorted(verbs, key=VERBS.index),
            **({"when": when} if when else {}),
        }
        for (group, plural, names, when), verbs in found.items()
    ]

"""Objects and their children as the watch last reported them, so that a pass need not read them.

A missed event costs time, never correctness: a kind whose decisions depend on children lists them again at every
resync.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from bessemer.engine.loop import Key
from bessemer.foreign import Unreadable, parse_int
from bessemer.kube.protocol import Object

R = TypeVar("R")


class ObjectCache:
    """The latest known version of each object of a kind, from the watch or from the response to a write."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._parsed: dict[Key, tuple[Object, Any]] = {}
        """With the version that was parsed."""

    def get(self, key: Key) -> Object | None:
        """Return an object; None if none is known."""
        return self._objects.get(key)

    def parse(self, key: Key, parse: Callable[[Object], R]) -> R | None:
        """Return an object as ``parse`` reads it, which is the same function each time; None if none is known.

        Each version is parsed once, however many passes and requests of strangers need it: a large spec takes a second.
        """
        raw = self._objects.get(key)
        if raw is None:
            return None
        known = self._parsed.get(key)
        if known is None or known[0] is not raw:
            known = self._parsed[key] = (raw, parse(raw))
        found: R = known[1]
        return found

    def put(self, key: Key, raw: Object) -> bool:
        """Store a version of an object unless a later one is known; return whether it was stored."""
        known = self._objects.get(key)
        if known is not None and _parse_version(known) >= _parse_version(raw):
            return False
        self._objects[key] = raw
        return True

    def drop(self, key: Key) -> None:
        """Forget a deleted object."""
        self._objects.pop(key, None)
        self._parsed.pop(key, None)

    def list_others(self, key: Key) -> list[Key]:
        """List the other objects in the namespace."""
        return [other for other in self._objects if other[0] == key[0] and other != key]

    def list_elsewhere(self, namespace: str) -> list[Key]:
        """List the objects in all other namespaces."""
        return [key for key in self._objects if key[0] != namespace]

    def list_keys(self, namespace: str) -> list[Key]:
        """List the objects in a namespace."""
        return [key for key in self._objects if key[0] == namespace]

    def is_empty(self, namespace: str) -> bool:
        """Return whether no object in the namespace is known."""
        return all(key[0] != namespace for key in self._objects)


class Named(Protocol):
    """A child as a kind sees it."""

    @property
    def name(self) -> str:
        """Name of the child."""


C = TypeVar("C", bound=Named)


class ChildCache(Generic[C]):
    """The latest known version of each child; a child belongs to the owner that it named last."""

    def __init__(self) -> None:
        self._children: defaultdict[Key, dict[str, C]] = defaultdict(dict)
        self._owners: dict[Key, Key] = {}
        """Keys of owners by key (namespace, name) of the child."""

    def list_of(self, owner: Key) -> list[C]:
        """Return the children of an owner."""
        return list(self._children[owner].values()) if owner in self._children else []

    def put(self, owner: Key, child: C) -> bool:
        """Store a version of a child; return whether it differs from the known one."""
        if self._children.get(owner, {}).get(child.name) == child:
            return False
        self.drop(owner[0], child.name)
        self._children[owner][child.name] = child
        self._owners[owner[0], child.name] = owner
        return True

    def drop(self, namespace: str, name: str) -> None:
        """Forget a deleted child."""
        owner = self._owners.pop((namespace, name), None)
        if owner is not None:
            del self._children[owner][name]
            if not self._children[owner]:
                del self._children[owner]

    def replace(self, owner: Key, children: Iterable[C]) -> None:
        """Replace the children of an owner with a complete list."""
        self.forget(owner)
        for child in children:
            self.put(owner, child)

    def forget(self, owner: Key) -> None:
        """Forget the children of a deleted owner."""
        for child in self.list_of(owner):
            self.drop(owner[0], child.name)


def _parse_version(raw: Mapping[str, Any]) -> int:
    """Return the resourceVersion as a number (greater is later); 0 if it is not a number."""
    try:
        return parse_int(raw["metadata"].get("resourceVersion") or 0)
    except Unreadable:
        return 0

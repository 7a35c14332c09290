"""Objects and their children as the watch saw them, so that a pass need not read them.

A missed event costs time, never correctness: a kind that decides by children lists them again at every resync.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

from bessemer.engine.loop import Key
from bessemer.foreign import Unreadable, parse_int
from bessemer.kube.protocol import Object


class ObjectCache:
    """The objects of a kind as they were seen last, be it by the watch or in the answer to one of our writes."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}

    def get(self, key: Key) -> Object | None:
        """Return an object; None where there is none, as far as is known."""
        return self._objects.get(key)

    def put(self, key: Key, raw: Object) -> bool:
        """Note how an object is, unless something later is known; return whether that is new."""
        known = self._objects.get(key)
        if known is not None and _parse_version(known) >= _parse_version(raw):
            return False
        self._objects[key] = raw
        return True

    def drop(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._objects.pop(key, None)

    def list_others(self, key: Key) -> Iterator[tuple[Key, Object]]:
        """Yield the other objects of a namespace."""
        return ((other, raw) for other, raw in self._objects.items() if other[0] == key[0] and other != key)

    def is_empty(self, namespace: str) -> bool:
        """Return whether no object of a namespace is known."""
        return all(key[0] != namespace for key in self._objects)


class Named(Protocol):
    """A child as a kind sees it."""

    @property
    def name(self) -> str:
        """Its name."""


C = TypeVar("C", bound=Named)


class ChildCache(Generic[C]):
    """Children as they were seen last, each at one owner: that which it named last."""

    def __init__(self) -> None:
        self._children: defaultdict[Key, dict[str, C]] = defaultdict(dict)
        self._owners: dict[Key, Key] = {}
        """By namespace and name of the child."""

    def list_of(self, owner: Key) -> list[C]:
        """Return the children of an owner."""
        return list(self._children[owner].values()) if owner in self._children else []

    def put(self, owner: Key, child: C) -> bool:
        """Note how a child is; return whether that is new."""
        if self._children.get(owner, {}).get(child.name) == child:
            return False
        self.drop(owner[0], child.name)
        self._children[owner][child.name] = child
        self._owners[owner[0], child.name] = owner
        return True

    def drop(self, namespace: str, name: str) -> None:
        """Forget a child that is gone."""
        owner = self._owners.pop((namespace, name), None)
        if owner is not None:
            del self._children[owner][name]
            if not self._children[owner]:
                del self._children[owner]

    def replace(self, owner: Key, children: Iterable[C]) -> None:
        """Take over a list of all children of an owner."""
        self.forget(owner)
        for child in children:
            self.put(owner, child)

    def forget(self, owner: Key) -> None:
        """Forget the children of an owner that is gone."""
        for child in self.list_of(owner):
            self.drop(owner[0], child.name)


def _parse_version(raw: Mapping[str, Any]) -> int:
    """Return the resourceVersion, of two of which the greater is the later; 0 where it is none."""
    try:
        return parse_int(raw["metadata"].get("resourceVersion") or 0)
    except Unreadable:
        return 0

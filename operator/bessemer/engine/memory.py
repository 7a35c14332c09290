"""In-memory state of each object between passes: one typed record per object, which is forgotten as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from bessemer.engine.loop import Key

M = TypeVar("M")


class Memories(Generic[M]):
    """The records of all objects of a kind. Correctness never depends on them: a restarted operator has none."""

    def __init__(self, make: Callable[[], M]) -> None:
        self._make = make
        self._records: dict[Key, M] = {}

    def get(self, key: Key) -> M:
        """Return the record of an object; created if missing."""
        found = self._records.get(key)
        if found is None:
            found = self._records[key] = self._make()
        return found

    def find(self, key: Key) -> M | None:
        """Return the record of an object; None if there is none."""
        return self._records.get(key)

    def forget(self, key: Key) -> None:
        """Forget a deleted object."""
        self._records.pop(key, None)

    def list_others(self, key: Key) -> Iterator[tuple[Key, M]]:
        """Yield the other objects in the namespace that have a record."""
        return ((other, found) for other, found in self._records.items() if other[0] == key[0] and other != key)

"""One update of the statuses of a commit at a time: GitLab locks them, and refuses or doubles what comes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


def is_same_url(one: str, other: str) -> bool:
    """Return whether two triggers name the same GitLab, however it is written."""
    return _normalize(one) == _normalize(other)


def _normalize(url: str) -> str:
    return url.rstrip("/").lower()


class CommitLocks:
    """The commits whose statuses are being set, by all triggers of the process."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, url: str, project: str, commit: str) -> AsyncIterator[None]:
        """Wait until no other trigger sets a status of this commit."""
        lock = self._locks.setdefault((_normalize(url), project.lower(), commit), asyncio.Lock())
        async with lock:
            yield

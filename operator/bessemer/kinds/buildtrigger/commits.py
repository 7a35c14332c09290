"""One update of the statuses of a commit at a time: GitLab locks them, and refuses or doubles what comes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


def name_project(url: str, project: str) -> tuple[str, str]:
    """Return what is the same for the same project, however it is written."""
    return url.rstrip("/").lower(), project.lower()


class CommitLocks:
    """The commits whose statuses are being set, by all triggers of the process."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, url: str, project: str, commit: str) -> AsyncIterator[None]:
        """Wait until no other trigger sets a status of this commit."""
        lock = self._locks.setdefault((*name_project(url, project), commit), asyncio.Lock())
        async with lock:
            yield

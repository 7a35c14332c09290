"""The simulator's time: the machine's, or one that stands still until it is advanced."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime


class Clock:
    """Seconds since 1970, as a float. Frozen, it moves only by `advance`; running, `advance` jumps ahead."""

    def __init__(self, frozen_at: float | None = None) -> None:
        self._frozen_at = frozen_at
        self._offset = 0.0
        self._moved = asyncio.Event()

    @property
    def frozen(self) -> bool:
        return self._frozen_at is not None

    def now(self) -> float:
        return time.time() + self._offset if self._frozen_at is None else self._frozen_at

    def freeze(self) -> None:
        self._frozen_at = self.now()
        self._wake()

    def resume(self) -> None:
        if self._frozen_at is not None:
            self._offset = self._frozen_at - time.time()
            self._frozen_at = None
            self._wake()

    def advance(self, seconds: float) -> None:
        """Raises ValueError: for a time that is not ahead."""
        if seconds < 0:
            raise ValueError("seconds: time doesn't go back; return a number of seconds from 0 on")
        if self._frozen_at is None:
            self._offset += seconds
        else:
            self._frozen_at += seconds
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def wait(self, event: asyncio.Event, deadline: float) -> bool:
        """Wait for the event until the deadline by this clock; False: the deadline came first."""
        while not event.is_set() and (left := deadline - self.now()) > 0:
            waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._moved.wait())]
            try:
                await asyncio.wait(waits, timeout=None if self.frozen else left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        return event.is_set()

    async def sleep(self, seconds: float) -> None:
        """Wait that long by this clock."""
        with contextlib.suppress(TimeoutError):
            await self.wait(asyncio.Event(), self.now() + seconds)


def build_time(seconds: float | None) -> str | None:
    """Return a time as GitLab's REST API writes it, such as ``2026-01-02T03:04:05.678Z``."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

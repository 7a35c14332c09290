"""One loop per object of a kind: never two passes over one object at once, passes over many objects concurrently.

A wake-up only says that something may have changed. All wake-ups during a pass cause one further pass. A wake-up may
concern a deleted object, for example if it came from a pod that outlives it: the pass finds that out, and the loop
ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic

from bessemer.engine.boundary import NEVER, Outcome, guard
from bessemer.engine.faults import Fault
from bessemer.pauses import compute_growing_pause

Key = tuple[str, str]
"""Namespace and name of an object."""
Pass = Callable[[Key, float], Awaitable[float | None]]
"""Runs one pass; takes the monotonic time of the wake-up and returns the seconds until the next pass is due, NEVER for
a deleted object."""
ShowFault = Callable[[Key, Fault], Awaitable[None]]
"""Shows on an object why its pass failed."""
FIRST_BACK_OFF_SECONDS = 0.2
LONGEST_BACK_OFF_SECONDS = 5.0
"""A refusal or an unreachable service is shown, and its end noticed, within five seconds."""


class WakeUps:
    """The loops of all known objects."""

    def __init__(
        self, work: Pass, resync_seconds: float, on_outcome: Callable[[Outcome], None], show: ShowFault
    ) -> None:
        self.kind = "object"
        """Name of the kind, for logs."""
        self._work = work
        self._show = show
        self._resync_seconds = resync_seconds
        self._on_outcome = on_outcome
        self._signals: dict[Key, asyncio.Event] = {}
        self._woken: dict[Key, float] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def wake(self, key: Key) -> None:
        """Wake an object: start a pass as soon as possible."""
        self._woken.setdefault(key, monotonic())
        if key not in self._tasks:
            self._signals[key] = asyncio.Event()
            self._tasks[key] = asyncio.create_task(self._loop(key), name=f"reconcile {self.kind} {key[0]}/{key[1]}")
        self._signals[key].set()

    def wake_all(self) -> None:
        """Wake all known objects, such as builds that wait for a released machine."""
        for key in self._tasks:
            self.wake(key)

    async def close(self) -> None:
        """Stop all loops; a pass may be interrupted at any point, which is safe."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _loop(self, key: Key) -> None:
        signal, failures = self._signals[key], 0
        while True:
            signal.clear()
            woken = self._woken.pop(key, monotonic())
            outcome = await guard(f"{self.kind} {key[0]}/{key[1]}", self._work(key, woken), partial(self._show, key))
            self._on_outcome(outcome)
            failures = failures + 1 if outcome.failed else 0
            if outcome.wake_after == NEVER and not signal.is_set():
                del self._tasks[key], self._signals[key]
                return
            if outcome.failed and outcome.wake_after is None:
                # Back off even if new events arrive: the failing pass itself may cause them.
                pause = compute_growing_pause(FIRST_BACK_OFF_SECONDS, failures, LONGEST_BACK_OFF_SECONDS)
                await asyncio.sleep(pause)
                continue
            # Not wait_for, which in Python 3.11 loses a cancellation that coincides with the wake-up.
            # Source: https://github.com/python/cpython/issues/86296
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience(outcome)):
                    await signal.wait()

    def _patience(self, outcome: Outcome) -> float:
        if outcome.wake_after is None:
            return self._resync_seconds
        return max(0.0, min(outcome.wake_after, self._resync_seconds))

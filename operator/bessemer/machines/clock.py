"""The clock of a phase, behind an interface, so that tests don't wait."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from bessemer.errors import Retry


class Terminated(Retry):
    """The pod is being stopped: end now, another attempt goes on."""

    def __init__(self) -> None:
        super().__init__("Terminated", "the phase was told to stop before it had finished")


class Clock(Protocol):
    """A clock that never goes back, and waiting on it."""

    def now(self) -> float:
        """Return the seconds since some moment."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Terminated: the process was told to stop.
        """
        ...


class SystemClock:
    """The system's clock; waiting ends when the process gets SIGTERM or SIGINT."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    def stop_on_signals(self, also: Callable[[], None]) -> None:
        """Make SIGTERM and SIGINT end every wait, now and later; ``also`` is called once, at the first of them."""

        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  as signal.signal wants it
            if not self._stopping.is_set():
                self._stopping.set()
                also()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    @property
    def is_stopping(self) -> bool:
        """Whether the process was told to stop."""
        return self._stopping.is_set()

    def now(self) -> float:
        """Return the time; see Clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; see Clock."""
        if self._stopping.wait(seconds):
            raise Terminated

"""Whether events still arrive."""

from __future__ import annotations

from time import monotonic


class Hearing:
    """The time of the last event on any watch stream; the leader's own Lease changes every few seconds."""

    def __init__(self) -> None:
        self._last = monotonic()

    def note(self) -> None:
        """Record that an event arrived."""
        self._last = monotonic()

    def silence(self) -> float:
        """Return the seconds since the last event."""
        return monotonic() - self._last

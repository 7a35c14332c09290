"""Events of machines in order: power actions, boots, stages. Tests read it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass

MOST_EVENTS = 20_000


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    sequence: int
    time: float
    """Seconds since the epoch."""
    machine: str
    event: str
    """Type: power-on, power-on-refused, power-off, netboot, boot, hung, mishap, ended."""
    source: str
    """Source of a boot: network or disk."""
    detail: str


class Journal:
    """The newest events, and a line for each in the pod's log."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._sequence = 0

    def note(self, machine: str, event: str, detail: str = "", *, source: str = "") -> None:
        """Add an event."""
        self._sequence += 1
        self._events.append(Event(self._sequence, time.time(), machine, event, source, detail))
        print(" ".join(filter(None, (f"{machine}:", event, source, detail))), flush=True)

    def list_since(self, sequence: int) -> list[dict[str, object]]:
        """Return the events after a sequence number."""
        return [asdict(event) for event in self._events if event.sequence > sequence]

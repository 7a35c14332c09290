"""The whole status, written once a pass and only to the object that was observed; paced where it always changes.

Conditions don't wait. A write costs as much as a pod's creation, and a pool in use has other counts every second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SETTLE_SECONDS = 1.0
"""How long paced fields have been wrong when they are written: several changes are one request, or none."""
BURST = 3.0
"""So many writes, those of one job, are not held up by the ones before."""
INTERVAL_SECONDS = 5.0
"""Between two writes of fields that change all the time."""


@dataclass
class StatusPace:
    """A bucket of writes that fills again with time; times are monotonic seconds."""

    changed: float | None = None
    """Since when the status has been another than what is written; None: it is not."""
    credit: float = BURST
    counted: float = 0.0
    """When the credit was that."""

    def put_equal(self) -> None:
        """Note that what is written is right."""
        self.changed = None

    def put_written(self, now: float) -> None:
        """Note that the status was written."""
        self.changed = None
        self.credit, self.counted = max(0.0, self._compute_credit(now) - 1), now

    def compute_wait(self, now: float) -> float:
        """Return the seconds until paced fields may be written that differ from those written; 0: now."""
        if self.changed is None:
            self.changed = now
        settled = self.changed + SETTLE_SECONDS
        affordable = now + (1 - self._compute_credit(now)) * INTERVAL_SECONDS
        return max(0.0, settled - now, affordable - now)

    def _compute_credit(self, now: float) -> float:
        return min(BURST, self.credit + (now - self.counted) / INTERVAL_SECONDS)


def is_urgent(before: Mapping[str, Any], after: Mapping[str, Any], paced: frozenset[str]) -> bool:
    """Return whether a field differs that does not wait."""
    return any(before.get(name) != after.get(name) for name in {*before, *after} - paced)

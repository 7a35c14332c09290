"""The whole status is written once per pass, and only to the version that was observed. Paced fields may wait.

Conditions don't wait. A write costs as much as creating a pod, and the counts of a busy pool change every second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SETTLE_SECONDS = 1.0
"""Paced fields are written once they have been outdated this long: several changes then take one request, or none."""
BURST = 3.0
"""Number of writes that are not delayed: those of one job."""
INTERVAL_SECONDS = 5.0
"""Minimum time between two writes of paced fields."""


@dataclass
class StatusPace:
    """A token bucket for status writes; times are monotonic seconds."""

    changed: float | None = None
    """Since when the written status has been outdated; None: it is current."""
    credit: float = BURST
    counted: float = 0.0
    """Time for which the credit was computed."""

    def put_equal(self) -> None:
        """Record that the written status is current."""
        self.changed = None

    def put_written(self, now: float) -> None:
        """Record a write of the status."""
        self.changed = None
        self.credit, self.counted = max(0.0, self._compute_credit(now) - 1), now

    def compute_wait(self, now: float) -> float:
        """Return the seconds until paced fields that differ may be written; 0: now."""
        if self.changed is None:
            self.changed = now
        settled = self.changed + SETTLE_SECONDS
        affordable = now + (1 - self._compute_credit(now)) * INTERVAL_SECONDS
        return max(0.0, settled - now, affordable - now)

    def _compute_credit(self, now: float) -> float:
        return min(BURST, self.credit + (now - self.counted) / INTERVAL_SECONDS)


def is_urgent(before: Mapping[str, Any], after: Mapping[str, Any], paced: frozenset[str]) -> bool:
    """Return whether a field that is not paced differs."""
    return any(before.get(name) != after.get(name) for name in {*before, *after} - paced)

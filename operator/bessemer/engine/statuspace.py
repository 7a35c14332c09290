"""When the counts in a pool's status are written: soon where they change seldom, at times where they always do. No I/O.

Conditions don't wait. A write costs as much as a pod's creation, and a pool in use has other counts every second.
"""

from __future__ import annotations

from dataclasses import dataclass

SETTLE_SECONDS = 1.0
"""How long counts have been wrong when they are written: several changes are one request, or none."""
BURST = 3.0
"""So many writes, those of one job, are not held up by the ones before."""
INTERVAL_SECONDS = 5.0
"""Between two writes of counts that change all the time."""


@dataclass
class StatusPace:
    """A bucket of writes that fills again with time; times are monotonic seconds."""

    changed: float | None = None
    """Since when the status has been another than what is written; None: it is not."""
    credit: float = BURST
    counted: float = 0.0
    """When the credit was that."""

    def put_equal(self) -> None:
        """Record that the written status is up to date."""
        self.changed = None

    def put_written(self, now: float) -> None:
        """Record that the status was written."""
        self.changed = None
        self.credit, self.counted = max(0.0, self._compute_credit(now) - 1), now

    def compute_wait(self, now: float) -> float:
        """Return the seconds until counts may be written that are other than those written; 0: they may be now."""
        if self.changed is None:
            self.changed = now
        settled = self.changed + SETTLE_SECONDS
        affordable = now + (1 - self._compute_credit(now)) * INTERVAL_SECONDS
        return max(0.0, settled - now, affordable - now)

    def _compute_credit(self, now: float) -> float:
        return min(BURST, self.credit + (now - self.counted) / INTERVAL_SECONDS)

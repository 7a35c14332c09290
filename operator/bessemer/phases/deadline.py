"""How long a phase may take: it ends by itself before Kubernetes would stop its pod, so that it can say why."""

from __future__ import annotations

from bessemer.api.phase_contract import PhaseInput
from bessemer.errors import Retry
from bessemer.machines.clock import Clock


class Deadline:
    """The end of ``deadlines.phaseSeconds``, less a margin for what can't be interrupted and for the result.

    Args:
        phase_input: has the phase's seconds, which are counted from now.
        clock: what they are counted by.
        margin_seconds: at most a quarter of the phase's seconds is taken for it.
    """

    def __init__(self, phase_input: PhaseInput, clock: Clock, margin_seconds: float) -> None:
        self._clock = clock
        self._limit = float(phase_input.spec.deadlines.phase_seconds)
        self.moment = clock.now() + self._limit - min(margin_seconds, self._limit / 4)
        """When the phase must have ended, by its clock."""

    def compute_left(self) -> float:
        """Return the seconds that are left; 0 where none are."""
        return max(0.0, self.moment - self._clock.now())

    def take(self, reason: str) -> float:
        """Return the seconds that are left; raises Retry with the reason where none are."""
        left = self.compute_left()
        if left <= 0:
            raise Retry(reason, f"the phase's {self._limit:.0f} s (deadlines.phaseSeconds) are used up")
        return left

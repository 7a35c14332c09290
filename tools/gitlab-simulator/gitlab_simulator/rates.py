"""How often a user may do something within a minute: https://docs.gitlab.com/security/rate_limits/"""

from __future__ import annotations

from .access import Refusal
from .state import GitLabState

SECONDS = 60


class Rates:
    """What was done within the last minute, by what it is and who did it."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state
        self._done: dict[tuple[str, int, int], list[float]] = {}

    def count(self, what: tuple[str, int, int], most: int) -> None:
        """Count it once more. Raises a 429: it was done too often already."""
        now = self._state.clock.now()
        recent = [at for at in self._done.get(what, []) if now - at < SECONDS]
        if len(recent) >= most:
            said = "This endpoint has been requested too many times. Try again later."
            raise Refusal(429, {"message": {"error": said}}, {"Retry-After": str(SECONDS)})
        self._done[what] = [*recent, now]

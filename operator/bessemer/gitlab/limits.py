"""How often GitLab is asked: when it wants to be asked again, and how often the operator asks at most. Pure.

Source: https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile("[0-9]{1,12}")
"""More digits make no sense, and of some hundreds Python makes infinity: a pass that is never repeated."""
LONGEST_WAIT_SECONDS = 3600.0
"""A GitLab that asks for more is asked again after this time, all the same: what it says may be an error, or past the
end of the calendar."""


def parse_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait, from 0 to LONGEST_WAIT_SECONDS; None where the headers say nothing, or nothing that
    makes sense.

    Retry-After says it in seconds, or as a date (RFC 9110, 10.2.3). Some of GitLab's limits leave it out and say in
    RateLimit-Reset, in seconds since 1970, when the count starts again. Times are compared with the answer's own Date:
    clocks differ.
    """
    found = _find_wait(headers)
    return None if found is None else min(max(0.0, found), LONGEST_WAIT_SECONDS)


class Budget:
    """A rate: a number of calls at once, and so many per second."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._left, self._counted = float(burst), float("-inf")

    def spend(self, now: float) -> float:
        """Count a call at a moment, in seconds, and return 0; where there have been too many, return the seconds until
        there may be one. A clock that goes back gives nothing back.
        """
        self._left = min(self._burst, self._left + max(0.0, now - self._counted) * self._per_second)
        self._counted = now
        if self._left < 1:
            return (1 - self._left) / self._per_second
        self._left -= 1
        return 0.0


def _find_wait(headers: Mapping[str, str]) -> float | None:
    asked = headers.get("Retry-After", "")
    if _SECONDS.fullmatch(asked):
        return float(asked)
    now = _parse_date(headers.get("Date", ""))
    if now is None:
        return None
    date, reset = _parse_date(asked), headers.get("RateLimit-Reset", "")
    if date is not None:
        return (date - now).total_seconds()
    return float(reset) - now.timestamp() if _SECONDS.fullmatch(reset) else None


def _parse_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)  # -0000: UTC from an unknown place (RFC 5322)

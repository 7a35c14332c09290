"""When GitLab wants to be asked again, by the headers of an answer. Pure.

Source: https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile("[0-9]{1,12}")
"""More digits make no sense, and of some hundreds Python makes infinity: a pass that is never repeated."""


def parse_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait, at least 0; None where the headers say nothing, or nothing that makes sense.

    Retry-After says it in seconds, or as a date (RFC 9110, 10.2.3). Some of GitLab's limits leave it out and say in
    RateLimit-Reset, in seconds since 1970, when the count starts again. Times are compared with the answer's own Date:
    clocks differ.
    """
    asked = headers.get("Retry-After", "")
    if _SECONDS.fullmatch(asked):
        return float(asked)
    now = _parse_date(headers.get("Date", ""))
    if now is None:
        return None
    date, reset = _parse_date(asked), headers.get("RateLimit-Reset", "")
    if date is not None:
        return max(0.0, (date - now).total_seconds())
    return max(0.0, float(reset) - now.timestamp()) if _SECONDS.fullmatch(reset) else None


def _parse_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)  # -0000: UTC from an unknown place (RFC 5322)

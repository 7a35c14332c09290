"""The only source of the current time, so that tests can replace it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
"""Returns the current time with a time zone."""


def get_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)

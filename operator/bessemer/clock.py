"""The one source of the time of day, so that tests can give their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
"""Gives the present moment with a time zone."""


def get_now() -> datetime:
    """Give the present moment in UTC."""
    return datetime.now(UTC)

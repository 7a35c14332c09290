"""When a deleted object goes in any case, whatever is left of it. Pure."""

from __future__ import annotations

from datetime import datetime


def compute_patience(deleted: datetime, deletion_seconds: int, now: datetime) -> float:
    """Return the seconds for which the end of an object's clean-up is waited for; 0 or less: no longer."""
    return deletion_seconds - (now - deleted).total_seconds()

"""The deadline after which a deleted object is finalized, whether or not its clean-up succeeded. Pure."""

from __future__ import annotations

from datetime import datetime


def compute_patience(deleted: datetime, deletion_seconds: int, now: datetime) -> float:
    """Return the seconds left for an object's clean-up; 0 or less: the deadline has passed."""
    return deletion_seconds - (now - deleted).total_seconds()

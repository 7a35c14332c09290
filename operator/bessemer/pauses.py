"""Pauses that grow with each failure. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

MOST_DOUBLINGS = 16
"""More than any pause needs from its first to its longest. Without a bound a float overflows at the 1024th failure."""
P = TypeVar("P", float, timedelta)


def compute_growing_pause(first: P, failures: int, longest: P) -> P:
    """Return the pause after so many failures in a row, from 1: doubled with each, at most ``longest``."""
    times: int = 2 ** min(failures - 1, MOST_DOUBLINGS)
    return min(first * times, longest)

"""Pauses grow to their longest, and stay there however often something fails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bessemer.pauses import compute_growing_pause


@pytest.mark.parametrize(("failures", "pause"), [(1, 2.0), (2, 4.0), (5, 32.0), (6, 60.0), (7, 60.0), (10**6, 60.0)])
def test_a_pause_is_doubled_up_to_its_longest(failures: int, pause: float) -> None:
    assert compute_growing_pause(2.0, failures, 60.0) == pause
    assert compute_growing_pause(timedelta(seconds=2), failures, timedelta(minutes=1)) == timedelta(seconds=pause)

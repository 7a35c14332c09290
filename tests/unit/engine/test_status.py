"""When counts are written to a status."""

from __future__ import annotations

from itertools import pairwise

from bessemer.engine.status import BURST, INTERVAL_SECONDS, SETTLE_SECONDS, StatusPace


def test_counts_that_settle_at_what_is_written_cost_nothing() -> None:
    pace = StatusPace()
    assert pace.compute_wait(100.0) == SETTLE_SECONDS
    pace.put_equal()
    assert pace.compute_wait(100.9) == SETTLE_SECONDS


def test_the_counts_of_a_job_that_comes_alone_are_written_within_a_second() -> None:
    pace, now = StatusPace(), 100.0
    for _ in range(int(BURST)):
        assert pace.compute_wait(now) == SETTLE_SECONDS
        now += SETTLE_SECONDS
        assert pace.compute_wait(now) == 0
        pace.put_written(now)


def test_counts_that_change_all_the_time_are_written_at_intervals() -> None:
    pace, written = StatusPace(), []
    for tenth in range(600):  # a minute in which they always differ
        if pace.compute_wait(tenth / 10) == 0:
            written.append(tenth / 10)
            pace.put_written(tenth / 10)
    assert len(written) <= 60 / INTERVAL_SECONDS + BURST
    gaps = [later - earlier for earlier, later in pairwise(written)]
    assert max(gaps) < INTERVAL_SECONDS + 0.2


def test_a_burst_is_possible_again_after_a_rest() -> None:
    pace = StatusPace()
    for second in range(5):
        pace.put_written(float(second))
    assert pace.compute_wait(5.0) > SETTLE_SECONDS
    pace.put_equal()
    rested = 5.0 + BURST * INTERVAL_SECONDS
    for second in range(int(BURST)):
        assert pace.compute_wait(rested + second) == SETTLE_SECONDS
        pace.put_written(rested + second)

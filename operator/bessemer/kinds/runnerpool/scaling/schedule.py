"""The current min according to a pool's schedules. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bessemer.api.runnerpool.cron import find_start
from bessemer.api.runnerpool.spec import RunnerPoolSpec, Schedule


def compute_minimum(spec: RunnerPoolSpec, now: datetime) -> tuple[int, datetime | None]:
    """Return the current min, and when it may change next, which is always after ``now``.

    While schedules are in force, the greatest min among them applies, even if it is below the pool's.
    """
    spans = [_compute_span(schedule, now) for schedule in spec.schedules]
    active = [schedule.min for schedule, (running, _) in zip(spec.schedules, spans, strict=True) if running]
    changes = [change for _, change in spans if change is not None]
    return min(max(active, default=spec.min), spec.max), min(changes, default=None)


def _compute_span(schedule: Schedule, now: datetime) -> tuple[bool, datetime | None]:
    """Return whether a schedule is in force, and when that changes."""
    length = timedelta(seconds=schedule.duration_seconds)
    # The schedule is in force if its first start after now - length is not after now.
    begin = find_start(schedule.start, ZoneInfo(schedule.time_zone), now - length)
    if begin is None:
        return False, None
    return (True, begin + length) if begin <= now else (False, begin)

"""The min of the moment, by the schedules of a pool. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

from bessemer.runnerpool.spec import RunnerPoolSpec, Schedule


def compute_minimum(spec: RunnerPoolSpec, now: datetime) -> tuple[int, datetime | None]:
    """Give the min that holds now, and when it may change next."""
    spans = [_compute_span(schedule, now) for schedule in spec.schedules]
    active = [schedule.min for schedule, (running, _) in zip(spec.schedules, spans, strict=True) if running]
    changes = [change for _, change in spans if change is not None]
    return min(max([spec.min, *active]), spec.max), min(changes, default=None)


def _compute_span(schedule: Schedule, now: datetime) -> tuple[bool, datetime | None]:
    """Tell whether a schedule is in force, and when that changes."""
    zone = ZoneInfo(schedule.time_zone)
    length = timedelta(seconds=schedule.duration_seconds)
    # The first start after now - length is in force if it is not after now.
    starts = CronSim(schedule.start, (now - length).astimezone(zone))
    begin = next(islice(starts, 1), None)
    if begin is None:
        return False, None
    begin = begin.astimezone(UTC)
    return (True, begin + length) if begin <= now else (False, begin)

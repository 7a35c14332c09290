"""Cron expressions: validation, the same in the API server and here, and their next time in a time zone. Pure.

As in Debian's cron, a time that is skipped when daylight saving time begins fires at the moment of the change, and one
that occurs twice fires the first time; expressions whose minute or hour begins with an asterisk follow elapsed time.
Source: cron(8) of Debian, "Daylight Saving Time and other time changes"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from bessemer.api.base import cel

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NUMBERS = (range(60), range(24), range(1, 32), range(1, 13), range(8))
"""Ranges of minute, hour, day of the month, month and day of the week; 0 and 7 are Sunday."""
_MONTH, _DAY_OF_WEEK = 3, 4
_VALUES = (
    "[0-5]?[0-9]",
    "([01]?[0-9]|2[0-3])",
    "(0?[1-9]|[12][0-9]|3[01])",
    f"(0?[1-9]|1[0-2]|(?i:{'|'.join(_MONTHS)}))",
    f"([0-7]|(?i:{'|'.join(_DAYS)}))",
)
_MORE = ("", "", "|[lL][wW]?", "", f"|{_VALUES[4]}[#][1-5]|[0-7][lL]")
"""Extensions: the last day of the month (L) or its last weekday (LW); the second Friday (5#2) or the last one (5L)."""


def _build_pattern() -> str:
    """Return a regular expression for the five fields; it does not compare days with months."""
    items = [
        f"([*](/[1-9][0-9]*)?|{value}(-{value})?(/[1-9][0-9]*)?{more})"
        for value, more in zip(_VALUES, _MORE, strict=True)
    ]
    return "^" + " +".join(f"{item}(,{item})*" for item in items) + "$"


CRON_PATTERN = _build_pattern()
_LATE, _SHORT = "(30|31|30-31)", "(0?[2469]|11|(?i:feb|apr|jun|sep|nov))"
NEVER_PATTERN = rf"^[^ ]+ +[^ ]+ +({_LATE}(,{_LATE})* +(0?2|(?i:feb))|31(,31)* +{_SHORT}(,{_SHORT})*) +[*][^ ]*$"
"""Dates that never occur, in their usual spelling; with a day of the week, the expression would still fire."""
_WHY = (
    "must be a cron expression of five fields: minute 0-59, hour 0-23, day of the month 1-31, "
    "month 1-12 or jan-dec, day of the week 0-7 or sun-sat; such as 0 7 * * 1-5"
)
_NEVER = "never fires: none of these months has that day"


def _check_cron(text: str) -> str:
    if not re.search(CRON_PATTERN, text):
        raise ValueError(_WHY)
    try:
        CronSim(_unfold(text), datetime(2000, 1, 1))  # noqa: DTZ001  any time works
    except CronSimError as error:  # the only error that the pattern does not catch
        raise ValueError(_NEVER) from error
    return text


CronExpression = Annotated[
    str,
    Field(
        pattern=r"^\S+( +\S+){4}$",
        max_length=100,
        json_schema_extra=cel(
            (f"self.matches('{CRON_PATTERN}')", _WHY),
            (f"!self.matches('{NEVER_PATTERN}')", _NEVER),
        ),
    ),
    AfterValidator(_check_cron),
]


def find_start(text: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """Return the first time after ``after``, in UTC, at which an expression fires; None if it never does.

    Fractions of a second are dropped: the result is a whole minute, and changes of the clock are searched by seconds.
    """
    text = _unfold(text)
    minute, hour, *_ = text.split()
    find = _find_by_hours if "*" in (minute[0], hour[0]) else _find_by_clock
    try:
        return find(text, zone, after.astimezone(UTC).replace(microsecond=0))
    except (StopIteration, OverflowError):
        return None


def _find_by_clock(text: str, zone: ZoneInfo, after: datetime) -> datetime:
    times = CronSim(text, after.astimezone(zone).replace(tzinfo=None))
    while (start := _find_first(next(times), zone)) <= after:
        pass  # in an hour that occurs twice: it has fired the first time
    return start


def _find_by_hours(text: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Compute with the current UTC offset; if that changes before the result, continue from the change."""
    offset = _get_offset(after, zone)
    while True:
        start = next(CronSim(text, (after + offset).replace(tzinfo=None))).replace(tzinfo=UTC) - offset
        if _get_offset(start, zone) == offset:
            return start
        change = _find_change(after, start, partial(_has_other_offset, zone, offset))
        after, offset = change - timedelta(seconds=1), _get_offset(change, zone)


def _find_first(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when the wall clock first shows a time; if the time is skipped, when the clock was put forward."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    return _find_change(moment - timedelta(days=2), moment, partial(_shows_later, zone, wall))


def _find_change(before: datetime, after: datetime, has_changed: Callable[[datetime], bool]) -> datetime:
    """Return the first second at which ``has_changed`` is true; it is false at ``before`` and true at ``after``."""
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (before, middle) if has_changed(middle) else (middle, after)
    return after


def _has_other_offset(zone: ZoneInfo, offset: timedelta, moment: datetime) -> bool:
    return _get_offset(moment, zone) != offset


def _shows_later(zone: ZoneInfo, wall: datetime, moment: datetime) -> bool:
    return moment.astimezone(zone).replace(tzinfo=None) > wall


def _get_offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _unfold(text: str) -> str:
    """Replace ranges that wrap around, such as fri-mon, with lists."""
    return " ".join(
        ",".join(_unfold_item(item, number) for item in field.split(",")) for number, field in enumerate(text.split())
    )


def _unfold_item(item: str, field: int) -> str:
    span, _, step = item.partition("/")
    first, dash, last = span.partition("-")
    if not dash:
        return item
    begin, end = _read_value(first, field), _read_value(last, field)
    if begin <= end:
        return item
    numbers = _NUMBERS[field]
    values = [*range(begin, numbers.stop), *range(numbers.start, end + 1)]
    if field == _DAY_OF_WEEK:
        values = list(dict.fromkeys(value % 7 for value in values))
    return ",".join(map(str, values[:: int(step or 1)]))


def _read_value(text: str, field: int) -> int:
    names = {_MONTH: ("", *_MONTHS), _DAY_OF_WEEK: _DAYS}.get(field, ())
    return names.index(text.lower()) if text.lower() in names else int(text)

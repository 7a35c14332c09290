"""Which schedules are taken, and what is said of the others."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.api.runnerpool.cron import CRON_PATTERN, NEVER_PATTERN, find_start
from bessemer.kinds.runnerpool.scaling.schedule import compute_minimum
from tests.support.examples import examples
from tests.unit.kinds.runnerpool.scenes import build_pool

GOOD = [
    "0 7 * * 1-5",
    "*/15 8-17 * * mon-fri",
    "0,30 0 1,15 jan,JUL 7",
    "59 23 31 12 0",
    "5/10 06 L * 5#2",
    "0 0 * * 5L",
    "0 7 * * fri-mon",
    "50-10 22-6 28-3 nov-2 5-1",
    "0 0 LW * mon#1",
]
BAD = [
    "99 8 * * *",
    "0 24 * * *",
    "0 8 0 * *",
    "0 8 * 13 *",
    "0 8 * * 8",
    "@daily",
    "0 8 * *",
    "0 8 * * * *",
    "a b c d e",
]


def schedule(**fields: object) -> dict[str, object]:
    return {"name": "day", "start": "0 7 * * *", "durationSeconds": 3600, "min": 1} | fields


@pytest.mark.parametrize("start", GOOD)
def test_cron_expressions_are_taken(start: str) -> None:
    assert build_pool(schedules=[schedule(start=start)]).spec_error == ""
    assert re.search(CRON_PATTERN, start)


@pytest.mark.parametrize("start", BAD)
def test_what_is_no_cron_expression_is_refused_at_apply_and_said_by_the_operator(start: str) -> None:
    assert not re.search(CRON_PATTERN, start)
    assert build_pool(schedules=[schedule(start=start)]).spec_error.startswith("spec.schedules[0].start: ")


STEP = st.just("") | st.integers(1, 70).map(lambda step: f"/{step}")
VALUES = [
    st.integers(0, last).map(str) | (st.sampled_from(names) if names else st.nothing())
    for last, names in ((60, []), (24, []), (32, []), (13, ["jan", "FEB", "dec"]), (8, ["sun", "Mon", "fri", "SAT"]))
]


def items(value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    span = st.tuples(value, value).map("-".join)
    odd = st.sampled_from(["L", "lw", "5L", "5#2", "mon#2", "L/2", "L-5", "monL", "5#2-3", "5L/2", "-", "/", ""])
    return st.one_of(st.just("*"), value, span, odd).flatmap(lambda what: STEP.map(lambda step: what + step))


EXPRESSIONS = st.tuples(*(st.lists(items(value), min_size=1, max_size=2).map(",".join) for value in VALUES)).map(
    " ".join
)


@settings(max_examples=examples(1000), deadline=None)
@given(EXPRESSIONS)
def test_the_api_server_and_the_operator_take_the_same_cron_expressions(start: str) -> None:
    taken = bool(re.search(CRON_PATTERN, start)) and not re.search(NEVER_PATTERN, start)
    error = build_pool(schedules=[schedule(start=start)]).spec_error
    if taken and "never fires" in error:
        return  # of unusual ways to write 30 February
    assert (error == "") is taken, error


@settings(max_examples=examples(500), deadline=None)
@given(EXPRESSIONS)
def test_what_cronsim_takes_is_taken_with_the_same_meaning(start: str) -> None:
    try:
        theirs = next(CronSim(start, datetime(2026, 3, 2)))  # noqa: DTZ001  cronsim's own time without a zone
    except (CronSimError, StopIteration, AssertionError, TypeError):
        return
    if re.search(CRON_PATTERN, start):
        assert find_start(start, ZoneInfo("Etc/UTC"), datetime(2026, 3, 2, tzinfo=UTC)) == theirs.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "days"),
    [
        ("fri-mon", "fri,sat,sun,mon"),
        ("5-1", "fri,sat,sun,mon"),
        ("7-2", "0-2"),
        ("5-7", "5,6,0"),
        ("fri-mon/2", "5,0"),
    ],
)
def test_a_range_of_days_may_go_over_the_end_of_the_week(span: str, days: str) -> None:
    week = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 9)]
    zone = ZoneInfo("Etc/UTC")
    assert [find_start(f"0 7 * * {span}", zone, day) for day in week] == [
        find_start(f"0 7 * * {days}", zone, day) for day in week
    ]


@pytest.mark.parametrize("start", ["0 0 30 2 *", "0 0 30,31 feb *", "0 0 31 4,6,9,11 *", "0 0 31 11 */2"])
def test_a_date_that_never_comes_is_refused(start: str) -> None:
    assert re.search(NEVER_PATTERN, start)
    assert "never fires" in build_pool(schedules=[schedule(start=start)]).spec_error


@pytest.mark.parametrize("start", ["0 0 29 2 *", "0 0 30 2 1", "0 0 31 2,3 *", "0 0 28,30 2 *"])
def test_a_date_that_comes_now_and_then_is_taken(start: str) -> None:
    assert not re.search(NEVER_PATTERN, start)
    assert build_pool(schedules=[schedule(start=start)]).spec_error == ""


def walk(schedules: list[dict[str, object]], begin: datetime, end: datetime, **spec: object) -> list[tuple[str, int]]:
    """List the changes of min from one moment to another, as what a clock on the wall of the first zone shows."""
    found = build_pool(schedules=schedules, **spec).spec
    assert found is not None
    zone, now, changes = ZoneInfo(found.schedules[0].time_zone), begin, [("", -1)]
    for _ in range(10_000):
        minimum, change = compute_minimum(found, now)
        if minimum != changes[-1][1]:
            changes.append((now.astimezone(zone).isoformat(), minimum))
        if change is None or change >= end:
            return changes[2:]
        assert change > now
        now = change
    raise AssertionError("the next change does not come nearer")


def test_on_the_night_when_the_clock_falls_back_a_schedule_is_in_force_once() -> None:
    night = schedule(start="30 2 * * *", durationSeconds=3600, timeZone="Europe/Berlin")
    for minutes in range(0, 300, 5):
        begin = datetime(2026, 10, 24, 23, tzinfo=UTC) + timedelta(minutes=minutes)
        changes = walk([night], begin, datetime(2026, 10, 25, 12, tzinfo=UTC))
        expected = [("2026-10-25T02:30:00+02:00", 1), ("2026-10-25T02:30:00+01:00", 0)]
        assert changes == [one for one in expected if datetime.fromisoformat(one[0]) > begin]


def test_in_the_hour_that_the_clock_skips_a_schedule_begins_when_it_was_put_forward() -> None:
    night = schedule(start="30 2 * * *", durationSeconds=1800, timeZone="Europe/Berlin")
    changes = walk([night], datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 29, 12, tzinfo=UTC))
    assert changes == [("2026-03-29T03:00:00+02:00", 1), ("2026-03-29T03:30:00+02:00", 0)]


def test_a_schedule_of_every_hour_counts_each_hour_that_passes() -> None:
    hourly = schedule(start="0 * * * *", durationSeconds=600, timeZone="Europe/Berlin")
    changes = walk([hourly], datetime(2026, 10, 24, 22, 30, tzinfo=UTC), datetime(2026, 10, 25, 3, 30, tzinfo=UTC))
    assert [when[11:19] + when[19:] for when, minimum in changes if minimum] == [
        *("01:00:00+02:00", "02:00:00+02:00", "02:00:00+01:00", "03:00:00+01:00", "04:00:00+01:00"),
    ]


@pytest.mark.parametrize("start", ["*/20 * * * *", "*/7 2 * * *", "15 */2 * * *", "* * * * *"])
def test_the_next_start_is_found_before_a_change_of_the_clock_at_any_part_of_a_second(start: str) -> None:
    zone, change = ZoneInfo("Europe/Berlin"), datetime(2026, 3, 29, 1, tzinfo=UTC)
    for seconds in range(1, 7200, 97):
        moment = change - timedelta(seconds=seconds)
        for part in (1, 500_000, 999_999):
            assert find_start(start, zone, moment.replace(microsecond=part)) == find_start(start, zone, moment)


ZONES = sorted(available_timezones() - {"localtime"})


def find_changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """List the days of a year on which a zone's clock is changed."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(366)]
    return [
        day for day, next_ in pairwise(days) if day.astimezone(zone).utcoffset() != next_.astimezone(zone).utcoffset()
    ]


@settings(max_examples=examples(300), deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(2012, 2035),  # in 1993, 1995 and 2011, islands moved across the date line: a day of theirs is missing
    st.integers(0, 23),
    st.integers(0, 59),
    st.tuples(st.integers(1, 20 * 60), st.integers(0, 48 * 3600 * 10)),
    st.data(),
)
def test_in_every_zone_a_daily_schedule_is_in_force_once_a_day_for_just_its_duration(
    name: str, year: int, hour: int, minute: int, spans: tuple[int, int], data: st.DataObject
) -> None:
    minutes, tenths = spans
    changes = find_changes(ZoneInfo(name), year) or [datetime(year, 7, 1, tzinfo=UTC)]
    around = data.draw(st.sampled_from(changes))
    begin = around - timedelta(days=3) + timedelta(seconds=tenths / 10)
    daily = schedule(start=f"{minute} {hour} * * *", durationSeconds=minutes * 60, timeZone=name)
    found = walk([daily], begin, around + timedelta(days=4))
    moments = [datetime.fromisoformat(when) for when, _ in found]
    lengths = [end - start for (start, end), (_, minimum) in zip(pairwise(moments), found, strict=False) if minimum]
    assert set(lengths) <= {timedelta(minutes=minutes)}
    days = [start.date() for start, (_, minimum) in zip(moments, found, strict=True) if minimum]
    assert len(set(days)) == len(days)
    skipped = {"Pacific/Kwajalein", "Kwajalein", "Pacific/Enderbury", "Pacific/Kanton", "Pacific/Kiritimati"}
    if len(days) > 1 and name not in skipped | {"Pacific/Apia", "Pacific/Fakaofo"}:  # they have left out a day
        assert (days[-1] - days[0]).days == len(days) - 1


def test_a_schedule_may_ask_for_less_than_the_pool_and_of_several_the_greatest_holds() -> None:
    weekend = schedule(name="weekend", start="0 0 * * sat", durationSeconds=172800, min=0)
    sunday = schedule(name="release", start="0 12 * * sun", durationSeconds=3600, min=2)
    changes = walk([weekend, sunday], datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC), min=5)
    assert [(when[:13], minimum) for when, minimum in changes] == [
        *(("2026-03-07T00", 0), ("2026-03-08T12", 2), ("2026-03-08T13", 0), ("2026-03-09T00", 5)),
    ]


@pytest.mark.parametrize("name", ["Mars/Olympus", "CET-Sometimes", "Europe"])
def test_a_time_zone_that_is_not_there_is_said(name: str) -> None:
    error = build_pool(schedules=[schedule(timeZone=name)]).spec_error
    assert error == "spec.schedules[0].timeZone: must be a time zone of the IANA database, such as Europe/Berlin"


@settings(max_examples=examples(300), deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(1990, 2035),
    st.sampled_from(["*/20 * * * *", "*/7 2 * * *", "15 */2 * * *", "0 * 30,31 12 *", "30 2 * * *", "0 0 L * *"]),
    st.integers(-26 * 3600 * 10**6, 26 * 3600 * 10**6),
    st.data(),
)
def test_in_every_zone_no_start_is_passed_over_and_none_lies_in_the_past(
    name: str, year: int, start: str, away: int, data: st.DataObject
) -> None:
    zone = ZoneInfo(name)
    around = data.draw(st.sampled_from(find_changes(zone, year) or [datetime(year, 7, 1, tzinfo=UTC)]))
    moment = around + timedelta(microseconds=away)
    found = find_start(start, zone, moment)
    assert found is not None
    assert found > moment
    between = moment + data.draw(st.floats(0, 1, exclude_max=True)) * (found - moment)
    assert find_start(start, zone, min(between, found - timedelta(microseconds=1))) == found

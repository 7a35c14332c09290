"""Which schedules are taken, and what is said of the others."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given
from hypothesis import strategies as st

from bessemer.runnerpool.spec import CRON_PATTERN
from tests.unit.runnerpool.scenes import build_pool

GOOD = [
    "0 7 * * 1-5",
    "*/15 8-17 * * mon-fri",
    "0,30 0 1,15 jan,JUL 7",
    "59 23 31 12 0",
    "5/10 06 L * 5#2",
    "0 0 * * 5L",
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


NUMBERS = st.integers(0, 70).map(str)
ITEMS = st.one_of(st.just("*"), NUMBERS, st.tuples(NUMBERS, NUMBERS).map("-".join), st.just("*/5"), st.just("mon"))
FIELDS = st.lists(ITEMS, min_size=1, max_size=2).map(",".join)


@given(st.lists(FIELDS, min_size=5, max_size=5).map(" ".join))
def test_the_api_server_refuses_nothing_that_is_a_cron_expression(start: str) -> None:
    try:
        CronSim(start, datetime(2000, 1, 1))  # noqa: DTZ001  any moment will do
    except CronSimError:
        return
    assert re.search(CRON_PATTERN, start), start


@pytest.mark.parametrize("name", ["Mars/Olympus", "CET-Sometimes", "Europe"])
def test_a_time_zone_that_is_not_there_is_said(name: str) -> None:
    error = build_pool(schedules=[schedule(timeZone=name)]).spec_error
    assert error == "spec.schedules[0].timeZone: no time zone of the IANA database, such as Europe/Berlin"

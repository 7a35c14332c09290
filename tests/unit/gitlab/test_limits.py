"""When GitLab wants to be asked again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.gitlab.limits import LONGEST_WAIT_SECONDS, Budget, parse_wait

NOW, RESET = "Mon, 23 Nov 2026 12:00:00 GMT", "1795435237"  # 37 s after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "7", "Date": NOW, "RateLimit-Reset": RESET}, 7),
        ({"Retry-After": "Mon, 23 Nov 2026 12:01:00 GMT", "Date": NOW}, 60),
        ({"Retry-After": "Mon, 23 Nov 2026 11:01:00 GMT", "Date": NOW}, 0),
        ({"RateLimit-Reset": RESET, "Date": NOW}, 37),
        ({"RateLimit-Reset": RESET}, None),
        ({"RateLimit-Reset": "soon", "Date": NOW}, None),
        ({"Retry-After": "soon", "Date": NOW}, None),
        ({"Retry-After": "Mon, 23 Nov 2026 12:01:00 -0000", "Date": NOW}, 60),
        ({"Retry-After": "Mon, 23 Nov 2026 12:01:00 GMT", "Date": "Mon, 23 Nov 2026 12:00:00 -0000"}, 60),
        ({"Retry-After": "Mon, 23 Nov 99999 12:01:00 GMT", "Date": NOW}, None),
        ({"Retry-After": "Mon, 23 Nov 2026 12:01:00 +999999999999999", "Date": NOW}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "999999999999"}, LONGEST_WAIT_SECONDS),
        ({"Retry-After": "Mon, 23 Nov 9999 12:01:00 GMT", "Date": NOW}, LONGEST_WAIT_SECONDS),
        ({"RateLimit-Reset": "999999999999", "Date": NOW}, LONGEST_WAIT_SECONDS),
        ({"Retry-After": "\uff15"}, None),
        ({"RateLimit-Reset": "9" * 400, "Date": NOW}, None),
        ({"Date": NOW}, None),
        ({}, None),
    ],
)
def test_the_wait_is_what_the_headers_say(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_wait(headers) == seconds


@given(st.lists(st.floats(-100, 100), max_size=200))
def test_a_budget_lets_through_no_more_than_its_rate_whatever_the_clock_does(steps: list[float]) -> None:
    budget, now, let = Budget(3, 0.5), 0.0, 0
    for step in steps:
        now += step
        wait = budget.spend(now)
        assert 0 <= wait <= 2
        let += wait == 0
    assert let <= 3 + sum(max(0.0, step) for step in steps) * 0.5


def test_a_budget_that_is_spent_says_when_there_is_some_again() -> None:
    budget = Budget(2, 0.1)
    assert [budget.spend(0.0), budget.spend(0.0), budget.spend(0.0)] == [0, 0, 10]
    assert budget.spend(10.5) == 0

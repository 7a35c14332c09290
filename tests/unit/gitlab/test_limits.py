"""When GitLab wants to be asked again."""

from __future__ import annotations

import pytest

from bessemer.gitlab.limits import parse_wait

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
        ({"Retry-After": "\uff15"}, None),
        ({"RateLimit-Reset": "9" * 400, "Date": NOW}, None),
        ({"Date": NOW}, None),
        ({}, None),
    ],
)
def test_the_wait_is_what_the_headers_say(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_wait(headers) == seconds

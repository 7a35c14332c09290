"""Which rule an event fits."""

from __future__ import annotations

import pytest

from bessemer.kinds.buildtrigger.report.targets import name_ref
from bessemer.kinds.buildtrigger.rules import get_short_name


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("refs/heads/main", "main"),
        ("refs/tags/v1", "v1"),
        ("refs/heads/refs/tags/main", "refs/tags/main"),
        ("refs/tags/refs/heads/main", "refs/heads/main"),
        ("refs/heads/refs/heads/main", "refs/heads/main"),
    ],
)
def test_a_branch_that_is_called_like_the_full_name_of_another_ref_is_not_taken_for_that(ref: str, name: str) -> None:
    assert get_short_name(ref) == name
    assert name_ref(ref) == name

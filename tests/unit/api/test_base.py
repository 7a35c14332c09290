"""What every custom resource shares."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.api.base import build_merge_patch
from tests.fakes.kubernetes import merge

JSON = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2),
        lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)


@given(JSON, JSON)
def test_a_merge_patch_makes_one_object_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = build_merge_patch(before, after)
    merge(patch, before)
    assert before == after


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1, "b": {"c": 1}}, {"a": 1, "b": {"c": 1}}, {}),
        ({"runner": {"id": 1, "tokenExpiresAt": "soon"}}, {"runner": {"id": 1}}, {"runner": {"tokenExpiresAt": None}}),
        ({"conditions": [1, 2]}, {"conditions": [1]}, {"conditions": [1]}),
    ],
)
def test_a_merge_patch_has_just_what_differs(
    before: dict[str, Any], after: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert build_merge_patch(before, after) == patch

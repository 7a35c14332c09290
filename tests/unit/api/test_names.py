"""No two owners share the name of an object, whatever they are called."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bessemer.api.names import (
    attempt_name,
    bounded_label,
    build_label_value,
    runner_pod_name,
    runner_secret_name,
    secret_name,
)
from bessemer.api.phase_contract import PhaseName

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAMES = st.from_regex(r"\A[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z").map(lambda n: n[:253])


def list_names(owner: str) -> list[str]:
    """Names of all kinds that an owner's objects have, with its kind before each that a Secret of another may have."""
    attempts = [attempt_name(owner, phase, number) for phase in PhaseName for number in (1, 11)]
    return [
        build_label_value(owner),
        *attempts,
        secret_name(owner),
        runner_pod_name(owner, 0),
        runner_secret_name(owner),
    ]


@settings(deadline=None)
@given(NAMES, NAMES)
@example("a.b", "a-b-2e7336dc")
@example("a.b", "a-b")
@example("oxygen.site", "oxygen-site")
def test_no_two_owners_share_a_name(one: str, other: str) -> None:
    names = list_names(one)
    assert all(LABEL.fullmatch(name) for name in names)
    if one != other:
        assert not [name for name, theirs in zip(names, list_names(other), strict=True) if name == theirs]


@settings(deadline=None)
@given(NAMES, st.integers(20, 63))
@example("a.b", 63)
@example("x" * 200, 63)
def test_the_name_that_another_is_turned_into_is_nobodys(name: str, limit: int) -> None:
    """An owner whose name another's objects have already gets a different name."""
    turned = bounded_label(name, limit)
    assert len(turned) <= limit
    if turned != name:
        assert bounded_label(turned, 63) != turned


def test_a_name_that_fits_is_used_as_it_is() -> None:
    assert attempt_name("oxygen", PhaseName.BOOT_COMPUTE, 2) == "oxygen-boot-compute-2"
    assert secret_name("oxygen-2e7336dc") == "oxygen-2e7336dc-bessemer"

"""Hostlists: read in the user's order; written for each reader; what was written reads as the same names."""

from __future__ import annotations

import contextlib
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.machines.hostlists import (
    POWERMAN_LIMIT,
    build_hostlists,
    build_powerman_hostlists,
    build_slurm_hostlist,
    can_slurm_count,
    parse_hostlist,
)
from tests.unit.machines.hostnames import HOST_SETS


@pytest.mark.parametrize(
    ("hostlist", "hosts"),
    [
        ("oxygen2", ["oxygen2"]),
        ("oxygen[7,2-4],b", ["oxygen7", "oxygen2", "oxygen3", "oxygen4", "b"]),
        ("10.141.0.[9-11]", ["10.141.0.9", "10.141.0.10", "10.141.0.11"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("n[98-101]", ["n98", "n99", "n100", "n101"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("n[01-100]", [*(f"n{number:02}" for number in range(1, 100)), "n100"]),
        ("n[0-10,5]-ib", [*(f"n{number}-ib" for number in range(11)), "n5-ib"]),
        ("a[1-2]b[01-02]", ["a1b01", "a1b02", "a2b01", "a2b02"]),
        ("r[1-2]n[08-10]", ["r1n08", "r1n09", "r1n10", "r2n08", "r2n09", "r2n10"]),
    ],
)
def test_a_hostlist_is_expanded_in_the_order_written(hostlist: str, hosts: list[str]) -> None:
    assert list(parse_hostlist(hostlist)) == hosts


@pytest.mark.parametrize(
    "hostlist",
    [
        *("", "a,,b", "a[", "a]", "a[x]", "a[3-1]", "a[1-2", "a,", "a[1,]", "a[1-10/2]", "a[1--2]", "a[ 1-2]"),
        *("a[1-010]", "a[098-0102]", "a[001-9]", "a[\uff11-3]"),
    ],
)
def test_what_is_no_hostlist_is_refused(hostlist: str) -> None:
    with pytest.raises(ValueError, match="no hostlist"):
        parse_hostlist(hostlist)


@pytest.mark.parametrize(
    "hostlist",
    [
        "oxygen[1-99999999]",
        "a[1-9999]b[1-9999]",
        "a[1-600],b[1-600]",
        "10.[0-255].[0-255].[0-255]",
        "a[1-" + "9" * 60 + "]",
        "a[" + ",".join(["1-99999999"] * 300) + "]",
        "[0-9]" * 800,
    ],
)
def test_more_names_than_a_build_may_have_are_counted_and_never_made(hostlist: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 1024 machines"):
            parse_hostlist(hostlist)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("hostlist", ["a[3-1]b[1-99999999]", "a[[1-99999999]]", "a[1-99999999", "a[1-99999999]]"])
def test_what_is_no_hostlist_is_not_expanded_either(hostlist: str) -> None:
    with pytest.raises(ValueError, match="no hostlist"):
        parse_hostlist(hostlist)


@given(st.one_of(st.text(max_size=60), st.text(alphabet="ab019-,[]", max_size=60)))
def test_any_text_is_a_bounded_list_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 < len(parse_hostlist(text)) <= 1024


SITES = [
    ("x1a,x2a", "x1a,x2a"),
    ("r1n1,r2n1", "r1n1,r2n1"),
    ("r[1-2]n[1-2]", "r1n[1-2],r2n[1-2]"),
    ("n[1-2]a", "n1a,n2a"),
    ("rack[1-2]-blade1", "rack1-blade1,rack2-blade1"),
    ("rack[1-2]-blade[08-11]", "rack1-blade[08-11],rack2-blade[08-11]"),
    ("n[01-10]", "n[01-10]"),
    ("n[1-2,01-02]", "n[1-2,01-02]"),
    ("n[8-10,08,09]", "n[8-10,08-09]"),
    ("1,2,3", "1,2,3"),
    ("a-1,a-2,a-b", "a-b,a-[1-2]"),
    ("n,n1", "n,n1"),
    ("oxygen[7,2-4],b", "b,oxygen[2-4,7]"),
    ("n999999999999999,n9999999999999999", "n9999999999999999,n999999999999999"),
]


@pytest.mark.parametrize(("written", "for_slurm"), SITES)
def test_slurm_and_powerman_get_one_bracket_that_ends_the_name(written: str, for_slurm: str) -> None:
    hosts = parse_hostlist(written)
    assert build_slurm_hostlist(hosts) == for_slurm
    assert build_powerman_hostlists(hosts) == [for_slurm]


@given(HOST_SETS)
def test_what_is_written_for_anyone_reads_as_the_same_names(hosts: set[str]) -> None:
    for hostlists in ([build_slurm_hostlist(hosts)], build_powerman_hostlists(hosts), build_hostlists(hosts)):
        read = [name for hostlist in hostlists for name in parse_hostlist(hostlist)]
        assert sorted(read) == sorted(hosts)


@given(HOST_SETS)
def test_for_slurm_and_powerman_nothing_stands_behind_a_bracket(hosts: set[str]) -> None:
    for hostlist in (build_slurm_hostlist(hosts), *build_powerman_hostlists(hosts)):
        pieces = re.split(r",(?![^\[]*\])", hostlist)
        assert all(re.fullmatch(r"[-a-z0-9]*|[-a-z0-9]*[-a-z]\[[-0-9,]+\]", piece) for piece in pieces)
        assert build_slurm_hostlist(list(reversed(parse_hostlist(hostlist)))) == hostlist, "it depends on no order"


def test_numbers_that_do_not_fold_are_written_in_bounded_lists() -> None:
    hosts = {f"n{number * 7919 * 7919 % 1_000_003}" for number in range(1024)}
    written = build_powerman_hostlists(hosts)
    assert max(map(len, written)) <= POWERMAN_LIMIT
    assert {name for hostlist in written for name in parse_hostlist(hostlist)} == hosts


@pytest.mark.parametrize(
    ("host", "can"),
    [
        ("n1", True),
        ("n", True),
        ("n" + "9" * 19, True),
        ("n" + "0" * 30 + "1", True),
        ("n18446744073709551614", True),
        ("n18446744073709551615", False),
        ("n" + "9" * 20, False),
        ("n" + "9" * 20 + "a", True),
    ],
)
def test_a_number_of_more_than_64_bits_is_none_that_slurm_can_count(host: str, can: bool) -> None:
    assert can_slurm_count(host) is can


def test_no_hosts_are_no_hostlist() -> None:
    assert build_slurm_hostlist([]) == ""
    assert build_powerman_hostlists([]) == []

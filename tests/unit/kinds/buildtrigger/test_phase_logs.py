"""What a job is told of the logs of phases: its own build's, bounded, printable, and without the values of Secrets."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.api.clusterbuild.resource import parse_cluster_build
from bessemer.api.jobprogress import LOG_LINES, MOST_BYTES, LogQuery, PhaseLog
from bessemer.errors import Invalid
from bessemer.kinds.buildtrigger.job.phaselog import (
    READ_BYTES,
    TOLD_BYTES,
    cut_log,
    find_place,
    find_since,
    join_parts,
    list_secret_lines,
    parse_query,
)
from tests.support.examples import examples
from tests.support.world import manifest

QUERY = LogQuery("oxygen", "Verify", 1)
START = datetime(2026, 3, 2, 6, tzinfo=UTC)


def stamp(number: int) -> str:
    """Return a time stamp as a kubelet writes it, with nanoseconds, a quarter of a second after the one before."""
    return f"{START + timedelta(milliseconds=250 * number):%Y-%m-%dT%H:%M:%S.%f}123Z"


def write_log(lines: list[str], query: LogQuery = QUERY) -> str:
    """Return what the kubelet answers: whole seconds, and at most READ_BYTES."""
    since = find_since(query)
    entries = [(START + timedelta(milliseconds=250 * n), f"{stamp(n)} {line}\n") for n, line in enumerate(lines)]
    text = "".join(entry for at, entry in entries if since is None or at >= since)
    return text.encode()[:READ_BYTES].decode(errors="replace")


def read_all(lines: list[str]) -> list[str]:
    """Read a log in pages, as a job does."""
    found, after = list[str](), ""
    for _ in range(1000):
        query = LogQuery("oxygen", "Verify", 1, after)
        page = cut_log(write_log(lines, query), query, ())
        found, after = found + page.lines, page.after
        if not page.more:
            return found
    raise AssertionError("the log has no end")


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=900), max_size=300))
def test_each_line_is_told_once_and_in_its_order(lines: list[str]) -> None:
    assert read_all(lines) == lines


def test_a_page_is_bounded_whatever_the_lines_are() -> None:
    page = cut_log(write_log(["\U0001f525" * 4000] * 300), QUERY, ())
    assert 0 < len(page.lines) <= LOG_LINES
    assert page.more
    assert sum(len(line) for line in page.lines) * 12 <= TOLD_BYTES < MOST_BYTES / 2


def test_a_second_with_too_many_lines_is_left_out_and_said() -> None:
    text = "".join(f"{stamp(0)[:-4]}{number:03d}Z {'x' * 1000}\n" for number in range(400))
    after = f"{stamp(0)[:-4]}250Z"  # beyond what is read at once
    page = cut_log(text[:READ_BYTES], LogQuery("oxygen", "Verify", 1, after), ())
    assert "left out" in page.lines[0]
    assert (page.after, page.more) == ("2026-03-02T06:00:01Z", True)


def test_one_line_longer_than_what_is_read_is_left_out_and_said() -> None:
    page = cut_log(f"{stamp(0)} {'x' * READ_BYTES}"[:READ_BYTES], QUERY, ())
    assert "left out" in page.lines[0]


def test_the_last_lines_are_those_before_the_end() -> None:
    lines = [f"{number} " + "\U0001f525" * 900 for number in range(50)]
    page = cut_log(write_log(lines[-20:]), LogQuery("oxygen", "Verify", 1, last=20), ())
    assert 0 < len(page.lines) < 20, "as many as fit"
    assert page.lines[-1].startswith("49 ")
    assert cut_log(write_log(["a", "b", "c"]), LogQuery("oxygen", "Verify", 1, last=2), ()).lines == ["b", "c"]


def test_a_line_without_an_end_is_not_joined_to_the_next() -> None:
    assert cut_log(join_parts(f"{stamp(0)} a", f"{stamp(1)} b"), QUERY, ()).lines == ["a", "b"]
    assert cut_log(join_parts("", None), QUERY, ()) == PhaseLog()


@given(st.text(max_size=300), st.text(max_size=60))
def test_no_text_is_more_than_printable_lines(text: str, after: str) -> None:
    page = cut_log(text, LogQuery("oxygen", "Verify", 1, after), ())
    assert all(line.isprintable() for line in [*page.lines, page.after])


def test_values_of_secrets_are_masked_also_over_the_end_of_a_shown_line() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nshort\n-----END KEY-----\n"
    secrets = list_secret_lines(
        [{"data": {"key": base64.b64encode(key.encode()).decode(), "broken": "%"}}, None, {"data": 7}]
    )
    assert secrets == {"-----BEGIN KEY-----", "MIIEvQIBADANBgkq", "-----END KEY-----"}
    (line,) = cut_log(write_log([f"{'x' * 1015}MIIEvQIBADANBgkq"]), QUERY, secrets).lines
    assert "MIIE" not in line
    (line,) = cut_log(write_log(["token=MIIEvQIBADANBgkq of the key"]), QUERY, secrets).lines
    assert line == "token=[MASKED] of the key"


def build(*phases: dict[str, Any], **spec: Any) -> Any:
    raw = manifest("oxygen", **spec)
    raw["metadata"] |= {"uid": "1", "namespace": "lab"}
    return parse_cluster_build(raw | {"status": {"phases": list(phases)}})


def test_only_the_latest_attempt_of_the_own_build_has_a_log() -> None:
    own = build({"name": "Verify", "state": "Running", "attempt": 2, "pod": "another-pod"})
    place = find_place([own], LogQuery("oxygen", "Verify", 2))
    assert place is not None
    assert place.pod == "oxygen-verify-2", "the status can't lead to another pod"
    assert "oxygen-bessemer" in place.secrets
    others = (("oxygen", "Verify", 1), ("oxygen", "Preflight", 2), ("neon", "Verify", 2), ("oxygen", "../x", 2))
    assert [find_place([own], LogQuery(*one)) for one in others] == [None] * 4


def test_secrets_that_the_spec_names_are_masked_too() -> None:
    playbooks = {"repository": "https://git.example/a", "loginSecretName": "git", "commit": "0" * 40}
    own = build(
        {"name": "Verify", "state": "Running", "attempt": 1},
        configuration={"playbooks": playbooks},
        ssh={"privateKeySecret": {"name": "oxygen-ssh", "key": "key"}},
    )
    place = find_place([own], QUERY)
    assert place is not None
    assert (place.containers, place.secrets) == (
        ("playbooks", "phase"),
        ("oxygen-bessemer", "oxygen-ssh", "git"),
    )


@pytest.mark.parametrize(
    "query",
    [
        {"phase": "Verify"},
        {"phase": "Verify", "attempt": "0"},
        {"phase": "Verify", "attempt": "1", "last": "9999"},
        {"phase": "Verify", "attempt": "1", "after": "x y"},
    ],
)
def test_a_query_that_is_wrong_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="attempt, after and last"):
        parse_query(query)


def test_a_query_is_read_as_it_is_written() -> None:
    query = LogQuery("oxygen", "Verify", 2, stamp(1), 20)
    assert parse_query(query.to_query()) == query
    assert parse_query({}) is None
    with pytest.raises(Invalid, match="after"):
        find_since(LogQuery("oxygen", "Verify", 2, "2026-99"))

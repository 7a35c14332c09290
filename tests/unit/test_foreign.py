"""What others write is decoded within bounds and shown as printable text, whatever it is."""

from __future__ import annotations

import json
from contextlib import suppress
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.foreign import (
    DEEPEST,
    KEPT_LEVELS,
    Unreadable,
    compute_depth,
    decode_cut,
    decode_json,
    make_line,
    make_text,
    parse_int,
    parse_time,
)

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "data",
    [
        "1e999",
        '{"jobs":[1e999]}',
        "NaN",
        "-Infinity",
        "[" * 100_000,
        "[" * 1200 + "]" * 1200,
        '"\\ud800"',
        "\ud800",
        "9" * 5000,
        b"\xff\xfe",
        "",
        "{",
    ],
)
def test_json_that_cannot_be_trusted_is_unreadable(data: bytes | str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode_json(data, most_bytes=1 << 20)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 256


def test_json_is_decoded_up_to_its_bounds_and_no_further() -> None:
    text = json.dumps(nest(DEEPEST))
    assert decode_json(text, most_bytes=len(text)) == nest(DEEPEST)
    with pytest.raises(Unreadable, match="longer than"):
        decode_json(text, most_bytes=len(text) - 1)
    with pytest.raises(Unreadable, match="nested deeper than 32"):
        decode_json(json.dumps(nest(DEEPEST + 1)), most_bytes=1 << 20)


@given(st.binary() | st.text())
def test_any_input_is_a_value_or_unreadable(data: bytes | str) -> None:
    try:
        value = decode_json(data, most_bytes=64)
    except Unreadable:
        return
    json.dumps(value, allow_nan=False).encode("utf-8")


@given(_VALUES)
def test_what_json_can_say_comes_back_as_it_was(value: Any) -> None:
    if compute_depth(value) <= DEEPEST and "\ud800" not in json.dumps(value):
        try:
            text = json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return
        assert decode_json(text, most_bytes=1 << 20) == value


@pytest.mark.parametrize(
    ("value", "depth"),
    [(1, 0), ("a", 0), ([], 1), ({}, 1), ([1], 1), ([[]], 2), ({"a": [1]}, 2), (nest(5), 5), (nest(40), 33)],
)
def test_depth_counts_lists_and_objects(value: object, depth: int) -> None:
    assert compute_depth(value) == depth


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("boom \x1b]0;pwned\x07\x1b[2J\x1b]52;c;cHduZWQ=\x1b\\end", "boom end"),
        ("\x1b[1moxygen2\x1b[0m", "oxygen2"),
        ("one\ntwo\r\nthree\tfour\u2028five\u2029six\x0cseven", "one two  three four five six seven"),
        ("\u202egpj.exe\u202c", "?gpj.exe?"),
        ("nul\x00 bell\x07 \x9b31mred \ud800", "nul? bell? red ?"),
        ("größe 大小", "größe 大小"),
        ("\x1b]0;never ended", ""),
    ],
)
def test_text_of_others_becomes_one_printable_line(text: str, line: str) -> None:
    assert make_line(text) == line


@given(st.text(), st.integers(0, 40))
def test_a_line_is_printable_bounded_and_stays_as_it_is(text: str, most: int) -> None:
    line = make_line(text, most)
    assert len(line) <= most
    assert line.isprintable()
    assert make_line(line, most) == line
    line.encode("utf-8")


@given(st.text(), st.integers(0, 40))
def test_a_text_keeps_its_lines_and_nothing_else_that_is_not_printable(text: str, most: int) -> None:
    shown = make_text(text, most)
    assert len(shown) <= most
    assert shown.replace("\n", "").isprintable()
    assert make_text(shown, most) == shown


def test_a_text_that_is_cut_says_so() -> None:
    assert make_line("a" * 10, 4) == "aaa…"
    assert make_line("a" * 4, 4) == "aaaa"
    assert make_line("a" * 10_000_000, 4) == "aaa…"


@given(st.none() | st.integers() | st.text() | st.floats() | st.lists(st.integers()))
def test_times_and_numbers_are_read_or_unreadable(value: object) -> None:
    for parse in (parse_time, parse_int):
        with suppress(Unreadable):
            parse(value)


def test_times_have_a_zone() -> None:
    assert parse_time("2026-10-25T02:30:00+02:00").isoformat() == "2026-10-25T00:30:00+00:00"
    for wrong in ("yesterday", "2026-10-25T02:30:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", None, 5):
        with pytest.raises(Unreadable):
            parse_time(wrong)


def test_numbers_are_whole_and_within_their_bounds() -> None:
    assert parse_int("77") == parse_int(77) == 77
    for wrong in ("abc", "", "1.5", 1.5, True, -1, "٣", 2**63, "9" * 5000):
        with pytest.raises(Unreadable):
            parse_int(wrong)


@given(_VALUES)
def test_what_can_be_read_is_read_as_it_is_whatever_else_is_cut(value: Any) -> None:
    plain = json.dumps(value).encode()
    try:
        expected = decode_json(plain, most_bytes=1 << 20)
    except Unreadable:
        expected = None  # a lone surrogate
    assert expected is None or decode_cut(plain) == expected
    deep = b'{"deep": ' + b"[" * 3000 + plain + b"]" * 3000 + b', "value": ' + plain + b"}"
    whole = decode_cut(deep)
    assert expected is None or whole["value"] == expected
    assert DEEPEST < compute_depth(whole["deep"], 10_000) <= KEPT_LEVELS


@given(st.binary() | st.text().map(str.encode) | st.text(alphabet='[]{}",:\\1a ').map(str.encode))
def test_no_bytes_make_cutting_raise_anything_but_that_they_are_no_json(data: bytes) -> None:
    for text in (data, b'{"a":' * 300 + data, b'"' + data):
        with suppress(Unreadable):
            json.dumps(decode_cut(text)).encode()


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (rb'{"a": "\ud800x", "\udfff": "\ud83d\ude00 \\ud800"}', {"a": "�x", "�": "😀 \\ud800"}),
        (b'{"a": NaN, "b": -Infinity}', {"a": None, "b": None}),
        (b'"\xff\xe2\x80\xa8"', "�\u2028"),
        (b'["]", "[\\"", {"}": 1}]' + b" " * 10, ["]", '["', {"}": 1}]),
    ],
)
def test_what_has_no_form_in_json_or_utf_8_is_replaced(data: bytes, value: Any) -> None:
    assert decode_cut(data) == value
    deep = b"[" * 3000 + b"]" * 3000
    assert decode_cut(b"[" + data + b"," + deep + b"]")[0] == value


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 1_500_000 + b"]" * 1_500_000,
        b'{"a":' * 300_000 + b"1" + b"}" * 300_000,
        b"[" * 3_000_000,
        b'"' + b'\\"' * 1_500_000,
        b'"a' * 1_500_000,
        b"[" * 70 + b'"' + b"\\" * 1_500_000,
        b"[[]," * 750_000,
    ],
    ids=["lists", "objects", "open", "quotes", "strings", "backslashes", "short"],
)
def test_cutting_takes_a_time_that_is_linear_in_the_length(data: bytes) -> None:
    began = process_time()
    with suppress(Unreadable):
        decode_cut(data)
    assert process_time() - began < 10, (
        "seconds; each takes one or less on an idle machine, and hours if it were squared"
    )

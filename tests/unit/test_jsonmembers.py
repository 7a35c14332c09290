"""A few members of a long JSON document, found piece by piece: what any decoder finds, and nothing else is kept."""

from __future__ import annotations

import contextlib
import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.foreign import Unreadable
from bessemer.jsonmembers import MOST_CHARACTERS, MOST_PARTS, MemberScanner, Path

WANTED: tuple[Path, ...] = (("a",), ("b",), ("a", "b"), ("p", "a"))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
NAMES = st.sampled_from(["a", "b", "p", "\0", '"', "\\", "ä"]) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20
)


def scan(body: bytes, *cuts: int) -> dict[Path, Any]:
    scanner, at = MemberScanner(WANTED), 0
    for cut in sorted(min(cut, len(body)) for cut in cuts):
        scanner.feed(body[at:cut])
        at = cut
    scanner.feed(body[at:])
    return dict(scanner.finish())


def look_up(document: Any) -> dict[Path, Any]:
    """Find the members in the document as a decoder gives it."""
    found = {}
    for path in WANTED:
        value = document
        for name in path:
            value = value.get(name, {}) if isinstance(value, dict) else {}
        if not isinstance(value, dict | list):
            found[path] = value
    return found


@given(
    document=st.dictionaries(NAMES, VALUES, max_size=6),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_it_finds_what_a_decoder_finds_however_the_document_is_cut(
    document: dict[str, Any], cuts: list[int], ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    assert scan(body, *cuts) == look_up(document)


@given(st.lists(st.sampled_from([b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b'"a"', b'"p"', b"1", b" ", b"x"])))
def test_what_is_no_json_is_unreadable_and_nothing_else(parts: list[bytes]) -> None:
    body = b"{" + b"".join(parts)
    try:
        found = scan(body, *range(0, len(body), 3))
    except Unreadable:
        return
    assert found == look_up(json.loads(body))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(Unreadable):  # {} is an object, and the search may well find it
        scan(body)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"a": 1, "a": [2]}', {}),
        (b'{"a": {"b": 1}, "a": {}}', {}),
        (b'{"a": {"b": 1}, "a": "x"}', {("a",): "x"}),
        (b'{"a": 1, "a": 2}', {("a",): 2}),
        (b'{"\\u0061": "\\u00e4"}', {("a",): "ä"}),
        (b'[{"a": 1}]', None),
        (b'{"x": [{"a": 1, "b": {"a": 1}}]}', {}),
        (b'{"a": 1}}', None),
        (b'{"a": 1} x', None),
        (b'{"a": 01}', None),
        (b'{"a": 1e999}', None),
        (b'{"a": "\\ud800"}', None),
        (b'{"a": "\xff"}', None),
        (b'{"c": "\xff\\ud800"}', {}),
        (b'{"a": 1,}', None),
        (b'{"a" 1}', None),
        (b"", None),
        (b'\xef\xbb\xbf{"a": 1}', None),
    ],
)
def test_odd_documents(body: bytes, found: dict[Path, Any] | None) -> None:
    if found is None:
        with pytest.raises(Unreadable):
            scan(body)
    else:
        assert scan(body) == found


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": ' * 33,
        b"[" * 1200,
        b'{"x": ' + b"[" * 10**6,
        b"{" + b'"a": 1,' * MOST_PARTS + b'"b": 2}',
        b'{"x": [' + b"[[1]]," * MOST_PARTS + b"1]}",
        b'{"x": ' + b"1" * 10**6,
        b'{"a": "' + b"x" * (MOST_CHARACTERS + 1) + b'"}',
    ],
)
def test_what_has_no_bound_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        scan(body)


@pytest.mark.parametrize(
    "unit",
    [b"1,", b'"",', b"{},", b'{"a": 1},', b"[1, 2],", b'"x": 1,', b'"x": {"a": 1},', b"1" * 30 + b",", b"[[1]],", b'"a',
     b'{"a": [', b'{"a": {"b": 1}, "x": 1,'],
)  # fmt: skip
def test_hundreds_of_thousands_of_values_take_no_time_or_are_unreadable(unit: bytes) -> None:
    """A stranger may send them, since a signature is known to be right only at the end of a body."""
    opened = b'{"x": {' if unit.startswith(b'"x"') else b'{"x": ['
    body = opened + unit * (2_000_000 // len(unit))
    began = time.process_time()
    with contextlib.suppress(Unreadable):
        scan(body, *range(0, len(body), 65536))
    assert time.process_time() - began < 3


def test_flat_values_are_skipped_and_what_stands_between_them_is_found() -> None:
    many = b'{"a": 1, "s": "x"}, [1, "a"], {}, "t", -1.5e3,' * 50_000
    assert scan(b'{"x": [' + many + b'0], "a": 7, "y": {"a": 1, "b": 2}, "p": {"z": [1], "a": 8}}') == {
        ("a",): 7,
        ("p", "a"): 8,
    }


def test_a_long_name_that_is_not_asked_for_is_skipped() -> None:
    assert scan(b'{"' + b"n" * 10**5 + b'": "x", "a": 1}') == {("a",): 1}


@pytest.mark.parametrize("character", [b"x", b"\\n", b'\\"', "ä".encode()])
def test_a_string_of_25_megabytes_costs_neither_memory_nor_much_time(character: bytes) -> None:
    piece = character * (65536 // len(character))
    scanner = MemberScanner(WANTED)
    scanner.feed(b'{"commit": {"message": "')
    began = time.process_time()
    tracemalloc.start()
    try:
        for _ in range(400):
            scanner.feed(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    scanner.feed(b'"}, "a": 7}')
    assert scanner.finish() == {("a",): 7}
    assert peak < 2_000_000
    assert time.process_time() - began < 5


@given(text=st.text(st.characters(codec="utf-8"), max_size=40), start=st.integers(0, 40), ascii_only=st.booleans())
def test_of_a_long_text_of_which_the_beginning_is_enough_that_is_found(text: str, start: int, ascii_only: bool) -> None:
    long = "x" * (MOST_CHARACTERS - start) + text * (1 + 2 * MOST_CHARACTERS // max(1, len(text)))
    body = json.dumps({"a": long, "b": 1}, ensure_ascii=ascii_only).encode()
    scanner = MemberScanner(WANTED, clipped=[("a",)])
    for at in range(0, len(body), 1000):
        scanner.feed(body[at : at + 1000])
    found = scanner.finish()
    assert found[("b",)] == 1
    assert long.startswith(str(found[("a",)]))
    assert len(str(found[("a",)])) >= min(len(long), MOST_CHARACTERS - 52), "no more is lost than one character"

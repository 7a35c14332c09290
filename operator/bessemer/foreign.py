"""What other systems and users write is data: JSON is decoded within bounds, text is made printable.

Everything that does not come from our own code or from a validated model passes here first: free-form fields of
objects, labels and termination messages of pods, Secrets edited by hand, answers of GitLab, webhooks, the boot journal,
and the output of powerman, Slurm, Ansible and installers. Each function is total: for any input it returns a value or
raises :class:`Unreadable`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

DEEPEST = 32
"""Levels of lists and objects that data may nest. The API server takes 10,000, and Python's own decoder ends the
process' work with a RecursionError at about 1,000; no document of Kubernetes, GitLab or Slurm nests half as deep."""
KEPT_LEVELS = 64
"""Levels that :func:`decode_cut` keeps: enough that what was cut still nests deeper than DEEPEST wherever in an object
it stands, so that who reads the field refuses it."""
_MOST_DIGITS = 4300
"""Python reads no longer whole number. Source: https://docs.python.org/3/library/stdtypes.html#int-max-str-digits"""
TEXT_CHARACTERS = 1024
"""Characters of foreign text that a message keeps, unless its caller says another number."""

YEARS = range(1970, 3000)
"""Of moments that are taken for such: to any of them durations can be added."""

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|[\x9d\x90\x98\x9e\x9f][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # C1 forms of OSC, DCS, SOS, PM and APC
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC (titles, clipboard), DCS, SOS, PM, APC
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]?"
)
"""Control sequences of terminals. Source: ECMA-48, 5.4 and 5.6."""


_STRINGS_AND_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\(?:.|\Z)[^"\\]*+)*+(?:"|\Z)|[\[\]{}]', re.DOTALL)
"""Possessive, and a string that is not closed ends with the text: no byte is looked at twice."""


class Unreadable(ValueError):  # noqa: N818  the name says what the data is, as those in errors.py do
    """What was read is not of the form that it should have; the message says how, and is printable and short."""


def decode_json(data: bytes | str, *, most_bytes: int, deepest: int = DEEPEST) -> Any:
    """Return the value of a JSON text; raises Unreadable for anything that is too large, too deep or not JSON.

    Refused, too: numbers that are not finite or have more than 4,300 digits, and lone surrogates, since neither can be
    written back as JSON or UTF-8.
    """
    if len(data) > most_bytes:
        raise Unreadable(f"longer than {most_bytes} bytes")
    try:
        value = from_json(data, allow_inf_nan=False)
    except (ValueError, TypeError) as error:  # the latter for text that is no UTF-8: lone surrogates
        raise Unreadable(f"not JSON that can be read: {make_line(str(error), 160)}") from None
    if compute_depth(value, deepest) > deepest:
        raise Unreadable(f"nested deeper than {deepest} levels")
    if not is_finite(value):
        raise Unreadable("a number in it is too large")
    return value


def decode_cut(data: bytes) -> Any:
    """Return the value of a JSON text that may nest anything; raises Unreadable only for what is not JSON.

    For objects that the API server has stored and others wrote: one that can't be read must not hide all others. What
    is nested deeper than KEPT_LEVELS levels becomes null, in a time that is linear in the length and without recursion;
    a lone surrogate, and a byte that is not UTF-8, becomes U+FFFD; NaN and Infinity become null.
    """
    try:
        return from_json(data, allow_inf_nan=False)  # which refuses more than 200 levels
    except ValueError:
        pass
    text = _cut(data).decode("utf-8", "replace")
    try:
        value = json.loads(text, strict=False, parse_constant=lambda _: None, parse_int=_read_int)
    except ValueError as error:
        raise Unreadable(f"not JSON that can be read: {make_line(str(error), 160)}") from None
    return _mend_surrogates(value)


def compute_depth(value: object, most: int = DEEPEST) -> int:
    """Return how many levels of lists and objects a value has, counted no further than one more than ``most``."""
    depth, level = 0, _find_containers([value])
    while level and depth <= most:
        depth += 1
        level = _find_containers(part for whole in level for part in _get_parts(whole))
    return depth


def is_finite(value: object) -> bool:
    """Return whether all numbers in a value can be written as JSON."""
    return all(math.isfinite(leaf) for leaf in _iterate_leaves(value) if isinstance(leaf, float))


def make_line(text: str, most: int = TEXT_CHARACTERS) -> str:
    """Return a text as one line that may be shown anywhere: no control sequence, no control character, bounded.

    Line ends and other white space become one blank each; characters that are invisible or change the direction of
    writing become ``?``. Applying it twice changes nothing.
    """
    return _make_printable(text, most, keep="")


def make_text(text: str, most: int = TEXT_CHARACTERS) -> str:
    """Return a text of several lines in the same way; its line feeds stay."""
    return _make_printable(text.replace("\r\n", "\n"), most, keep="\n")


def parse_time(value: object) -> datetime:
    """Return the moment of an RFC 3339 time stamp, in UTC; raises Unreadable for anything else, without a zone, or
    out of YEARS.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 64 else None
        if moment is not None and moment.tzinfo is not None and moment.astimezone(UTC).year in YEARS:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Unreadable(f"not a time stamp with a time zone, of the years {YEARS.start} to {YEARS.stop - 1}")


def parse_int(value: object, *, least: int = 0, most: int = 2**63 - 1) -> int:
    """Return a whole number that is given as such or in ASCII digits; raises Unreadable for anything else."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise Unreadable(f"not a whole number from {least} to {most}")


def _cut(data: bytes) -> bytes:
    """Replace each list or object that lies deeper than KEPT_LEVELS levels by null."""
    pieces, kept_from, depth = [], 0, 0
    for found in _STRINGS_AND_BRACKETS.finditer(data):
        mark = data[found.start()]
        if mark in b"[{":
            depth += 1
            if depth == KEPT_LEVELS + 1:
                pieces += [data[kept_from : found.start()], b"null"]
        elif mark in b"]}":
            if depth == KEPT_LEVELS + 1:
                kept_from = found.end()
            depth -= 1
    return b"".join((*pieces, data[kept_from:])) if depth <= KEPT_LEVELS else b""


def _read_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _mend_surrogates(value: Any) -> Any:
    """Replace lone surrogates, which no UTF-8 can hold; the value nests no deeper than KEPT_LEVELS levels."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mend_surrogates(part) for part in value]
    if isinstance(value, dict):
        return {_mend_surrogates(name): _mend_surrogates(part) for name, part in value.items()}
    return value


def _make_printable(text: str, most: int, keep: str) -> str:
    # The control sequences are looked for in little more than what is kept: a text may have any length.
    head = _ESCAPES.sub("", text[: 4 * most + 64])
    cut = len(head) > most or len(text) > 4 * most + 64
    shown = "".join(c if c.isprintable() or c in keep else " " if c.isspace() else "?" for c in head[:most])
    return shown[:-1].rstrip().lstrip(" ") + "…" if cut and most > 0 else shown.strip(" ")


def _find_containers(values: Iterable[object]) -> list[list[Any] | dict[str, Any]]:
    return [value for value in values if isinstance(value, list | dict)]


def _get_parts(whole: list[Any] | dict[str, Any]) -> Iterator[Any]:
    return iter(whole.values() if isinstance(whole, dict) else whole)


def _iterate_leaves(value: object) -> Iterator[object]:
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, list | dict):
            rest.extend(_get_parts(part))
        else:
            yield part

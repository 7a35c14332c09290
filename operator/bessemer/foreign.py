"""Decode untrusted data: JSON within bounds, text made printable.

All data that does not come from our code or from a validated model passes through here first: free-form fields of
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
"""Maximum nesting depth of lists and objects. The API server accepts 10,000, and Python's decoder raises RecursionError
at about 1,000; no document of Kubernetes, GitLab or Slurm is nested even half as deep."""
KEPT_LEVELS = 64
"""Levels that :func:`decode_cut` keeps: enough for a field with cut data to still exceed DEEPEST, wherever it is in the
object, so that reading the field fails."""
_MOST_DIGITS = 4300
"""Python's limit for integers. Source: https://docs.python.org/3/library/stdtypes.html#int-max-str-digits"""
TEXT_CHARACTERS = 1024
"""Default number of characters of foreign text that are kept."""

YEARS = range(1970, 3000)
"""Accepted years of time stamps: adding a duration can't overflow."""

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|[\x9d\x90\x98\x9e\x9f][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # C1 forms of OSC, DCS, SOS, PM and APC
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC (titles, clipboard), DCS, SOS, PM, APC
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]?"
)
"""Terminal control sequences. Source: ECMA-48, 5.4 and 5.6."""


_STRINGS_AND_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\(?:.|\Z)[^"\\]*+)*+(?:"|\Z)|[\[\]{}]', re.DOTALL)
"""Possessive, and an unclosed string ends with the text: no byte is visited twice."""


class Unreadable(ValueError):  # noqa: N818  the name says what the data is, as those in errors.py do
    """The data does not have the expected format; the message says why, and is printable and short."""


def decode_json(data: bytes | str, *, most_bytes: int, deepest: int = DEEPEST) -> Any:
    """Return the value of a JSON text; raises Unreadable for anything that is too large, too deep or not JSON.

    Also refused: numbers that are not finite or have more than 4,300 digits, and lone surrogates, since they can't be
    written back as JSON or UTF-8.
    """
    if len(data) > most_bytes:
        raise Unreadable(f"longer than {most_bytes} bytes")
    try:
        value = from_json(data, allow_inf_nan=False)
    except (ValueError, TypeError) as error:  # TypeError for text with lone surrogates
        raise Unreadable(f"not JSON that can be read: {make_line(str(error), 160)}") from None
    if compute_depth(value, deepest) > deepest:
        raise Unreadable(f"nested deeper than {deepest} levels")
    if not is_finite(value):
        raise Unreadable("a number in it is too large")
    return value


def decode_cut(data: bytes) -> Any:
    """Return the value of a JSON text of any depth; raises Unreadable only if it is not JSON.

    For stored objects that users wrote: one unreadable object must not hide all others. Values that are nested deeper
    than KEPT_LEVELS levels become null, in linear time and without recursion; lone surrogates and invalid UTF-8 become
    U+FFFD; NaN and Infinity become null.
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
    """Return the nesting depth of lists and objects of a value; counting stops at ``most`` + 1."""
    depth, level = 0, _find_containers([value])
    while level and depth <= most:
        depth += 1
        level = _find_containers(part for whole in level for part in _get_parts(whole))
    return depth


def is_finite(value: object) -> bool:
    """Return whether all numbers in a value can be written as JSON."""
    return all(math.isfinite(leaf) for leaf in _iterate_leaves(value) if isinstance(leaf, float))


def make_line(text: str, most: int = TEXT_CHARACTERS) -> str:
    """Return a text as one bounded line that is safe to show anywhere: without control sequences and characters.

    Each line end or other white-space character becomes a space; characters that are invisible or change the writing
    direction become ``?``. The function is idempotent.
    """
    return _make_printable(text, most, keep="")


def make_text(text: str, most: int = TEXT_CHARACTERS) -> str:
    """Return a text of several lines in the same way; line feeds are kept."""
    return _make_printable(text.replace("\r\n", "\n"), most, keep="\n")


def parse_time(value: object) -> datetime:
    """Return the time of an RFC 3339 time stamp in UTC; raises Unreadable for anything else, including time stamps
    without a time zone or outside YEARS.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 64 else None
        if moment is not None and moment.tzinfo is not None and moment.astimezone(UTC).year in YEARS:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Unreadable(f"not a time stamp with a time zone, from {YEARS.start} to {YEARS.stop - 1}")


def parse_int(value: object, *, least: int = 0, most: int = 2**63 - 1) -> int:
    """Return an integer, also from ASCII digits; raises Unreadable for anything else."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise Unreadable(f"not an integer from {least} to {most}")


def _cut(data: bytes) -> bytes:
    """Replace each list or object below KEPT_LEVELS levels with null."""
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
    """Replace lone surrogates, which UTF-8 can't encode; the value has at most KEPT_LEVELS levels."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mend_surrogates(part) for part in value]
    if isinstance(value, dict):
        return {_mend_surrogates(name): _mend_surrogates(part) for name, part in value.items()}
    return value


def _make_printable(text: str, most: int, keep: str) -> str:
    # Only a little more than the kept part is searched for control sequences: the text can have any length.
    head = _ESCAPES.sub("", text[: 4 * most + 64])
    cut = len(head) > most or len(text) > 4 * most + 64
    shown = head[:most]
    if not shown.isprintable():  # most are, and are looked at often
        shown = "".join(c if c.isprintable() or c in keep else " " if c.isspace() else "?" for c in shown)
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

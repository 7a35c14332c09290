"""What other systems and users write is data: JSON is decoded within bounds, text is made printable.

Everything that does not come from our own code or from a validated model passes here first: free-form fields of
objects, labels and termination messages of pods, Secrets edited by hand, answers of GitLab, webhooks, the boot journal,
and the output of powerman, Slurm, Ansible and installers. Each function is total: for any input it returns a value or
raises :class:`Unreadable`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

DEEPEST = 32
"""Levels of lists and objects that data may nest. The API server takes 10,000, and Python's own decoder ends the
process' work with a RecursionError at about 1,000; no document of Kubernetes, GitLab or Slurm nests half as deep."""
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
    if any(isinstance(leaf, float) and not math.isfinite(leaf) for leaf in _iterate_leaves(value)):
        raise Unreadable("a number in it is too large")
    return value


def compute_depth(value: object, most: int = DEEPEST) -> int:
    """Return how many levels of lists and objects a value has, counted no further than one more than ``most``."""
    depth, level = 0, _find_containers([value])
    while level and depth <= most:
        depth += 1
        level = _find_containers(part for whole in level for part in _get_parts(whole))
    return depth


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

"""Hostlists: the one reader, and one writer for each of those that read them.

A hostlist folds names, such as ``oxygen[2-4,7]``. Its readers differ:

- Slurm takes one bracket in a name, with nothing behind it: ``r[1-2]n1`` is ``Invalid hostlist``.
- powermand takes a bracket with something behind it, but of two brackets only the first: ``r[1-2]n[1-2]`` means two
  machines of the names ``r1n[1-2]`` and ``r2n[1-2]``; and what it reads must be short.
- The status, messages and our own reader take any number of brackets anywhere.

So what Slurm and powermand get has at most one bracket, which ends the name: only the last number is folded.
Sources: https://slurm.schedmd.com/slurm.conf.html#OPT_NodeName and powerman(1); both programs are asked by
tests/contract/machines/test_hostlists.py.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ClusterShell.NodeSet import NodeSet

from bessemer.api.clusterbuild.spec import MAX_NODES

_COMMA_OUTSIDE_BRACKETS = re.compile(r",(?![^\[]*\])")
_BRACKETS = re.compile(r"\[([^\]]*)\]")
_RANGE = re.compile(r"(?P<first>[0-9]{1,63})(-(?P<last>[0-9]{1,63}))?")
"""One number or range in brackets; no longer than a host name may be."""
MAX_ANSWERED = 4 * MAX_NODES
"""Names taken from what is not one spec: answers of powerman, which also has the management node, and removed nodes."""
HOSTLIST_LIMIT = 4096
"""Characters of one hostlist in the status and in what phases report."""
POWERMAN_LIMIT = 4000
"""Characters of one hostlist for powermand, which reads commands of up to 8192 (CP_LINEMAX), and closes the
connection silently when a string of its configuration is some times as long."""
MOST_NAME_CHARACTERS = 253
"""Of a name without its numbers; a host name has no more (RFC 1035). Which names can be used is checked elsewhere."""
_LAST_NUMBER = re.compile(r"(?P<prefix>.*[^0-9])(?P<number>[0-9]{1,15})")
"""A name whose last number can be folded: neither the whole name, nor one near the 64 bits that Slurm has for it."""
_QUOTED = 100
"""Characters of a wrong hostlist that are told."""


@dataclass(frozen=True)
class _Range:
    """Numbers in brackets, written with at least that many digits."""

    first: int
    last: int
    digits: int

    def count(self) -> int:
        """Return how many numbers these are."""
        return self.last - self.first + 1

    def iterate(self) -> Iterator[str]:
        """Iterate over them as they are written."""
        return (str(number).zfill(self.digits) for number in range(self.first, self.last + 1))


class _NoHostlist(ValueError):  # noqa: N818  it says what a text is
    """A piece of a hostlist is none."""


def parse_hostlist(hostlist: str, limit: int = MAX_NODES) -> tuple[str, ...]:
    """Expand a hostlist such as ``oxygen[2-4,7]`` in the order in which it is written.

    Names are counted before any is made: ``a[1-99999999]`` costs no more than its text. A range keeps the padding of
    its first number, as Slurm and powermand read and write it: ``n[08-101]`` is n08, n09, n10 and so on to n101.

    Raises:
        ValueError: it is no hostlist, or names more than ``limit`` machines; says what is wrong with it.
    """
    pieces = _COMMA_OUTSIDE_BRACKETS.split(hostlist)
    try:
        if sum(_count_piece(piece) for piece in pieces) > limit:
            raise ValueError(f"{_shorten(hostlist)} names more than {limit} machines, which is the limit")
        return tuple(name for piece in pieces for name in _expand_piece(piece))
    except _NoHostlist as error:
        raise ValueError(f"{_shorten(hostlist)} is no hostlist: {error}") from error


def _count_piece(piece: str) -> int:
    """Count the names of a piece without expanding it: each bracket multiplies, each range in it adds."""
    if not piece or any(mark in literal for literal in _BRACKETS.split(piece)[0::2] for mark in "[]"):
        raise _NoHostlist(f"{_shorten(piece)} is not a name")
    if len(_BRACKETS.sub("", piece)) > MOST_NAME_CHARACTERS:
        raise _NoHostlist(f"{_shorten(piece)} has names of more than {MOST_NAME_CHARACTERS} characters")
    return math.prod(sum(part.count() for part in _read_ranges(bracket)) for bracket in _BRACKETS.findall(piece))


def _read_ranges(bracket: str) -> list[_Range]:
    return [_read_range(text) for text in bracket.split(",")]


def _read_range(text: str) -> _Range:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise _NoHostlist(f"{_shorten(text)} is not a range of numbers")
    first, last = match["first"], match["last"] or match["first"]
    if int(last) < int(first):
        raise _NoHostlist(f"{text} counts down")
    if len(last) != len(first) and (last.startswith("0") or len(last) < len(first)):
        raise _NoHostlist(f"{text} is padded in two ways")
    return _Range(int(first), int(last), len(first))


def _expand_piece(piece: str) -> list[str]:
    literals = _BRACKETS.split(piece)[0::2]
    ranges = [[n for part in _read_ranges(text) for n in part.iterate()] for text in _BRACKETS.findall(piece)]
    return [
        literals[0] + "".join(number + literal for number, literal in zip(numbers, literals[1:], strict=True))
        for numbers in itertools.product(*ranges)
    ]


def _shorten(text: str) -> str:
    """Quote a text of the user; a long one by its beginning, so that what is wrong with it is still told."""
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}...")


def build_hostlist(hosts: Collection[str]) -> str:
    """Fold names for people and for our own reader, sorted, such as ``r[1-2]n[1-4]``."""
    return str(NodeSet.fromlist(list(hosts)))


def build_hostlists(hosts: Collection[str]) -> list[str]:
    """Fold names for the status: into as few hostlists as hold no more than 4096 characters each, sorted.

    Names with several numbers, of which some are missing, hardly fold: then it takes several.
    """
    folded = build_hostlist(hosts)
    if len(folded) <= HOSTLIST_LIMIT or len(hosts) == 1:
        return [folded]
    names = list(NodeSet.fromlist(list(hosts)))
    middle = len(names) // 2
    return [*build_hostlists(names[:middle]), *build_hostlists(names[middle:])]


def build_slurm_hostlist(hosts: Collection[str]) -> str:
    """Fold names for Slurm, sorted: ``r1n[1-4],r2n[1-4]``, ``x1a,x2a``."""
    return ",".join(_join_runs(_fold_last_numbers(hosts)))


def can_slurm_count(host: str) -> bool:
    """Return whether Slurm can hold the number at the end of a name; of a larger one it makes another name."""
    match = re.search(r"[0-9]+$", host)
    return match is None or int(match[0]) < 2**64 - 1


def build_powerman_hostlists(hosts: Collection[str]) -> list[str]:
    """Fold names for powermand, sorted, into hostlists of at most 4000 characters each."""
    return list(_join_runs(_fold_last_numbers(hosts), POWERMAN_LIMIT))


def _fold_last_numbers(hosts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return what stands before the last number and a range of that, such as ("n", "08-10"); ("x1a", "") is whole."""
    numbers: dict[str, set[str]] = {}
    for host in sorted(set(hosts)):
        match = _LAST_NUMBER.fullmatch(host)
        if match is None:
            yield host, ""
        else:
            numbers.setdefault(match["prefix"], set()).add(match["number"])
    for prefix, found in numbers.items():
        if len(found) == 1:
            yield prefix + found.pop(), ""
        else:
            yield from ((prefix, run) for run in _iterate_runs(found))


def _iterate_runs(numbers: set[str]) -> Iterator[str]:
    """Return ranges of numbers; each keeps the padding of its first, as ``9`` and ``09`` are two names."""
    left = set(numbers)
    for first in sorted(numbers, key=lambda number: (len(number), number)):
        if first not in left:
            continue
        last = first
        while (following := str(int(last) + 1).zfill(len(first))) in left:
            last = following
            left.remove(last)
        left.remove(first)
        yield first if first == last else f"{first}-{last}"


def _join_runs(runs: Iterable[tuple[str, str]], limit: int | None = None) -> Iterator[str]:
    """Join runs to hostlists of at most ``limit`` characters each; without one, to a single hostlist."""
    text, bracket = "", ""
    for prefix, run in runs:
        piece = f"{prefix}[{run}]" if run else prefix
        longer = f"{text[:-1]},{run}]" if run and prefix == bracket else f"{text},{piece}" if text else piece
        if text and limit is not None and len(longer) > limit:
            yield text
            longer = piece
        text, bracket = longer, prefix if run else ""
    if text:
        yield text

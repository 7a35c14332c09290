"""Extract a few members of a JSON object that arrives in chunks and may be long, such as a webhook of 25 MB. Pure.

Decoders keep the whole document in memory; streaming decoders (ijson, yajl) keep at least each of its strings, and the
message of a commit is one string. This scanner keeps only the requested members. It accepts what RFC 8259 allows and
checks the structure, but not the contents of other strings; the members are decoded by :mod:`bessemer.foreign`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from enum import Enum, auto

import re2

from bessemer.foreign import DEEPEST, Unreadable, decode_json

Path = tuple[str, ...]
"""Names of members, from the outermost object inwards."""
Scalar = str | int | float | bool | None
MOST_PARTS = 20_000
"""Maximum number of strings, numbers and punctuation characters of a document that are looked at one by one; GitLab's
webhooks have a few hundred. It bounds the time, also for senders who have not proven anything yet: strings and flat
values that were not requested are skipped at a hundred megabytes per second, other parts at hundreds of thousands per
second."""
MOST_CHARACTERS = 4096
"""Maximum number of bytes of a requested member, as it is written."""
LONGEST_ESCAPE = 12
"""Bytes of the longest escape sequence: that of a character outside of the Basic Multilingual Plane."""
CHUNK_BYTES = 16 * 1024
"""Bytes that are collected before they are looked at, so that the number of parts does not depend on the sizes in which
a document arrives: what is skipped in one go must have arrived."""
_NUMBER_BYTES = 64
_SIGNS = frozenset((b"{", b"}", b"[", b"]", b":", b",", b'"'))
_OPTIONS = re2.Options()
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
_OPTIONS.dot_nl = True
# RE2 takes linear time without possessive quantifiers. Those of Python before 3.11.5 go wrong where a group in them has
# to backtrack: https://github.com/python/cpython/issues/106052
_SPACE = re.compile(rb"[ \t\r\n]*")
_WORD = re.compile(rb'[^][{}:," \t\r\n]*')
_IN_STRING = re2.compile(rb'(?:[^"\\]|\\.)*', _OPTIONS)
_BARE = re.compile(rb"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_S = r"[ \t\r\n]*"
_TEXT = r'"(?:[^"\\]|\\.)*"'
_SCALAR = rf"(?:{_TEXT}|true|false|null|-?(?:0|[1-9][0-9]{{0,19}})(?:\.[0-9]{{1,20}})?(?:[eE][+-]?[0-9]{{1,3}})?)"
_MEMBER = rf"{_TEXT}{_S}:{_S}{_SCALAR}{_S}"
_FLAT = (
    rf"(?:{_SCALAR}|\[{_S}(?:{_SCALAR}{_S}(?:,{_S}{_SCALAR}{_S})*)?\]"
    rf"|\{{{_S}(?:{_MEMBER}(?:,{_S}{_MEMBER})*)?\}})"
)
"""A value that holds no values which hold others; longer numbers are read, and refused, one by one."""
_ELEMENTS = re2.compile(rf"(?:{_S}{_FLAT}{_S},)+".encode(), _OPTIONS)
_MEMBERS = re2.compile(rf"(?:{_S}{_TEXT}{_S}:{_S}{_FLAT}{_S},)+".encode(), _OPTIONS)
"""As many flat elements or members as follow each other: a webhook has thousands of names of files, and a stranger may
send hundreds of thousands of numbers."""


class _Next(Enum):
    """What may come next."""

    OBJECT = auto()
    VALUE = auto()
    VALUE_OR_END = auto()
    KEY = auto()
    KEY_OR_END = auto()
    COLON = auto()
    COMMA_OR_END = auto()
    NOTHING = auto()


class MemberScanner:
    """Finds scalar members by their paths; of several members with one name the last one counts, as in other
    decoders.
    """

    def __init__(self, wanted: Collection[Path], clipped: Collection[Path] = ()) -> None:
        """Of the members in ``clipped``, which are wanted as well, only the beginning is kept where they are long."""
        self._wanted, self._clipped = frozenset(wanted), frozenset(clipped)
        self._before_wanted = frozenset(path[:end] for path in wanted for end in range(len(path)))
        self._found: dict[Path, Scalar] = {}
        self._next = _Next.OBJECT
        self._open: list[bytes] = []
        self._names: list[str | None] = []
        """For each open list or object, the name of the member that is being read; None in a list."""
        self._skips: list[bool] = []
        """For each open list or object, whether nothing directly in it can be requested."""
        self._parts = 0
        self._bare = b""
        """The part of a number or word at the end of the last chunk."""
        self._in_string = False
        self._kept: bytearray | None = None
        """The part of the current string that has been read, if the string is requested."""
        self._rest = bytearray()
        """What has arrived and was not looked at."""

    def feed(self, piece: bytes) -> None:
        """Take the next piece, of any size; raises Unreadable, after which the scanner must not be used."""
        self._rest += piece
        if len(self._rest) >= CHUNK_BYTES:
            self._scan()

    def finish(self) -> dict[Path, Scalar]:
        """Return the members that were found; raises Unreadable if the document is incomplete."""
        self._scan()
        if self._next is not _Next.NOTHING or self._bare or self._rest:
            raise Unreadable("it is incomplete")
        return self._found

    def _scan(self) -> None:
        """Process what has arrived, but for half an escape sequence at its end."""
        data, at = bytes(self._rest), 0
        self._rest.clear()
        while at < len(data):
            at = self._read_string(data, at) if self._in_string else self._read_outside(data, at)

    def _read_outside(self, data: bytes, at: int) -> int:
        if self._bare:  # the last chunk ended within a word
            return self._read_word(data, at)
        at = _SPACE.match(data, at).end()  # type: ignore[union-attr]  # it always matches
        if at == len(data):
            return at
        skipped = self._skip(data, at)
        if skipped > at:
            return skipped
        sign = data[at : at + 1]
        if sign not in _SIGNS:
            return self._read_word(data, at)
        self._take_sign(sign)
        return at + 1

    def _skip(self, data: bytes, at: int) -> int:
        """Skip flat values that can't be requested, each with the comma behind it; return where the next one begins."""
        if not self._skips or not self._skips[-1] or len(self._open) >= DEEPEST:
            return at
        is_list = self._open[-1] == b"["
        if self._next not in ((_Next.VALUE, _Next.VALUE_OR_END) if is_list else (_Next.KEY, _Next.KEY_OR_END)):
            return at
        found = (_ELEMENTS if is_list else _MEMBERS).match(data, at)
        if found is None:
            return at
        self._next = _Next.VALUE if is_list else _Next.KEY
        return int(found.end())

    def _read_word(self, data: bytes, at: int) -> int:
        """Read a number, true, false or null; the next character shows its end."""
        end = _WORD.match(data, at).end()  # type: ignore[union-attr]  # it always matches
        self._bare += data[at : min(end, at + _NUMBER_BYTES + 1)]
        if len(self._bare) > _NUMBER_BYTES:
            raise Unreadable(f"it has a word or number of more than {_NUMBER_BYTES} bytes")
        if end < len(data):
            self._end_bare()
        return end

    def _read_string(self, data: bytes, at: int) -> int:
        end = int(_IN_STRING.match(data, at).end())
        if self._kept is not None:
            self._kept += data[at : min(end, at + MOST_CHARACTERS + 1 - len(self._kept))]
            if len(self._kept) > MOST_CHARACTERS:
                self._refuse_long()
        if end == len(data):
            return end
        if data[end] == ord("\\"):  # the last byte of this chunk
            self._rest += data[end:]
            return len(data)
        self._end_string()
        return end + 1

    def _refuse_long(self) -> None:
        if self._next is not _Next.COLON and self._get_path() in self._clipped:
            return
        if self._next is not _Next.COLON:
            raise Unreadable(f"{'.'.join(self._get_path())} is longer than {MOST_CHARACTERS} bytes")
        self._kept = None  # no requested name is that long

    def _take_sign(self, sign: bytes) -> None:
        self._count_part()
        if sign in (b"{", b"["):
            self._begin_value(sign == b"{")
            self._skips.append(sign == b"[" or self._get_path() not in self._before_wanted)
            self._open.append(sign)
            self._names.append(None)
            if len(self._open) > DEEPEST:
                raise Unreadable(f"nested deeper than {DEEPEST} levels")
            self._next = _Next.KEY_OR_END if sign == b"{" else _Next.VALUE_OR_END
        elif sign in (b"}", b"]"):
            opened, empty = (b"{", _Next.KEY_OR_END) if sign == b"}" else (b"[", _Next.VALUE_OR_END)
            if not self._open or self._open[-1] != opened or self._next not in (empty, _Next.COMMA_OR_END):
                raise Unreadable(f"{sign.decode()} in an invalid place")
            self._open.pop()
            self._skips.pop()
            self._names.pop()
            self._end_value()
        elif sign == b'"':
            self._begin_string()
        elif sign == b":" and self._next is _Next.COLON:
            self._next = _Next.VALUE
        elif sign == b"," and self._next is _Next.COMMA_OR_END:
            self._next = _Next.KEY if self._open[-1] == b"{" else _Next.VALUE
        else:
            raise Unreadable(f"{sign.decode()} in an invalid place")

    def _begin_string(self) -> None:
        if self._next in (_Next.KEY, _Next.KEY_OR_END):
            asked = self._get_path()[:-1] in self._before_wanted
            self._next = _Next.COLON
            self._names[-1] = None
        else:
            self._begin_value()
            asked = self._get_path() in self._wanted
        self._in_string, self._kept = True, bytearray() if asked else None

    def _end_string(self) -> None:
        self._in_string = False
        kept, self._kept = self._kept, None
        text = _decode_text(kept) if kept is not None else None
        if self._next is _Next.COLON:
            self._names[-1] = text
            return
        if kept is not None:
            self._found[self._get_path()] = text
        self._end_value()

    def _end_bare(self) -> None:
        word, self._bare = self._bare, b""
        self._count_part()
        self._begin_value()
        if not _BARE.fullmatch(word):
            raise Unreadable("it has an unknown word")
        if self._get_path() in self._wanted:
            self._found[self._get_path()] = decode_json(word, most_bytes=_NUMBER_BYTES)
        self._end_value()

    def _begin_value(self, is_object: bool = False) -> None:
        if self._next is _Next.OBJECT and not is_object:
            raise Unreadable("it is not an object")
        if self._next not in (_Next.OBJECT, _Next.VALUE, _Next.VALUE_OR_END):
            raise Unreadable("a value in an invalid place")
        path = self._get_path()
        if path in self._wanted or path in self._before_wanted:
            for other in [other for other in self._found if other[: len(path)] == path]:
                del self._found[other]

    def _end_value(self) -> None:
        self._next = _Next.COMMA_OR_END if self._open else _Next.NOTHING

    def _get_path(self) -> tuple[str, ...]:
        # Lists and names that are not requested never match a requested path.
        return tuple(name if name is not None else "\0" for name in self._names)

    def _count_part(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise Unreadable(f"it has more than {MOST_PARTS} parts")


def _decode_text(text: bytearray) -> str:
    """Return a text as it was meant; of one that is longer than it may be, the beginning."""
    if len(text) > MOST_CHARACTERS:
        return _decode_begin(text)
    return str(decode_json(b'"' + text + b'"', most_bytes=MOST_CHARACTERS + 2))


def _decode_begin(text: bytearray) -> str:
    """Return the beginning of a text, which may be cut off within a character or an escape sequence."""
    for end in range(MOST_CHARACTERS, MOST_CHARACTERS - LONGEST_ESCAPE, -1):
        with suppress(Unreadable):
            return str(decode_json(b'"' + text[:end] + b'"', most_bytes=MOST_CHARACTERS + 2))
    raise Unreadable("a text with characters that are none")

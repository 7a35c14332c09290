"""How the output of a remote command is told from what the machine's shell prints around it.

sshd runs a command by the user's login shell, whose start-up files may print a greeting before it (bash reads .bashrc
for commands, too) and something after it, to both outputs, in lines, parts of lines or bytes that are no text. So each
command is run between two random marks that no other program can guess; only the text between them is its output. The
shell of the user is replaced before the command runs, so that its traps and functions are out of play, and input is
sent only after the first mark, so that no start-up file reads it.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass, field

from bessemer.foreign import make_line

GREETING_BYTES = 1 << 20
"""Bytes before the first mark that are read past; a shell that prints more than that never comes to the command."""
_SHOWN_CHARACTERS = 200
_BEGIN, _END = "bessemer-begin", "bessemer-end"
_SCRIPT = (
    'printf "%s:%s;" "$2" "$4" >&2; printf "%s:%s;" "$2" "$4"; code=0; /bin/sh -c "$1" || code=$?; '
    'printf "%s:%s;" "$3" "$4"; printf "%s:%s;" "$3" "$4" >&2; exit "$code"'
)
"""Errors first: when the first mark has come by standard output, that of the other is under way."""


@dataclass(frozen=True)
class Frame:
    """The marks of one command."""

    word: str = field(default_factory=lambda: secrets.token_hex(16))

    def wrap(self, command: str) -> str:
        """Return the line to be sent; it holds no whole mark, as a shell may print what it runs (``set -x``)."""
        return f"exec /bin/sh -c {shlex.quote(_SCRIPT)} sh {shlex.quote(command)} {_BEGIN} {_END} {self.word}"

    @property
    def begin(self) -> bytes:
        """What comes right before the command's output."""
        return f"{_BEGIN}:{self.word};".encode()

    @property
    def end(self) -> bytes:
        """What comes right after it."""
        return f"{_END}:{self.word};".encode()


class FramedOutput:
    """One output of a command as it comes in; not safe for several threads.

    Args:
        frame: the marks of the command.
    """

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._bytes = bytearray()
        self._searched = 0
        self._begun = False
        self._greeting = b""

    def add(self, part: bytes) -> None:
        """Take some bytes."""
        self._bytes += part
        if self._begun:
            return
        mark = self._frame.begin
        found = self._bytes.find(mark, max(0, self._searched - len(mark)))
        self._searched = len(self._bytes)
        if found >= 0:
            self._begun = True
            self._greeting = bytes(self._bytes[:found])
            del self._bytes[: found + len(mark)]

    @property
    def begun(self) -> bool:
        """Whether the first mark has come."""
        return self._begun

    @property
    def size(self) -> int:
        """Bytes that came and are kept, the greeting not counted once the command has begun."""
        return len(self._bytes)

    @property
    def greeting(self) -> bytes:
        """What came before the first mark: all there is while that has not come."""
        return self._greeting if self._begun else bytes(self._bytes)

    def take(self) -> str | None:
        """Return the command's output; None if it is not whole."""
        end = self._bytes.rfind(self._frame.end)
        if not self._begun or end < 0:
            return None
        return self._bytes[:end].decode(errors="replace")


def build_complaint(stdout: FramedOutput, stderr: FramedOutput) -> str:
    """Return what a shell printed that never ran the command."""
    shown = make_line((stdout.greeting or stderr.greeting).decode(errors="replace"), _SHOWN_CHARACTERS)
    prints = f"its shell prints: {shown}" if shown else "its shell prints nothing"
    return f"{prints}; start-up files such as .bashrc must let a command run that is given by SSH"

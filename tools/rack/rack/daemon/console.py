"""A machine's serial console: a pseudo-terminal whose output is kept in a file, for users and tests."""

from __future__ import annotations

import asyncio
import os
import tty
from pathlib import Path

MOST_BYTES = 1 << 20
"""A longer log loses its first half."""


class SerialConsole:
    """The daemon's end of a console; the log is kept across power cycles, each of which gets a new terminal."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._ends: tuple[int, int] | None = None
        log.touch()

    def open_terminal(self) -> int:
        """Start a terminal; return the machine's end.

        It stays open here too: a process 1 that opens its console only while it has something to say must not hang up.
        """
        self.close_terminal()
        master, slave = self._ends = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        asyncio.get_running_loop().add_reader(master, self._copy)
        return slave

    def close_terminal(self) -> None:
        """Copy what is left and hang up."""
        if self._ends is None:
            return
        self._copy()
        asyncio.get_running_loop().remove_reader(self._ends[0])
        for end in self._ends:
            os.close(end)
        self._ends = None

    def _copy(self) -> None:
        if self._ends is None:
            return
        try:
            self.write(os.read(self._ends[0], 1 << 16))
        except BlockingIOError:
            return

    def write(self, data: bytes) -> None:
        """Add to the log."""
        with self._log.open("ab") as file:
            file.write(data)
            length = file.tell()
        if length > MOST_BYTES:
            self._log.write_bytes(self._log.read_bytes()[-MOST_BYTES // 2 :])

    def read_tail(self, lines: int) -> str:
        """Return the newest lines."""
        text = self._log.read_bytes().decode(errors="replace").replace("\r", "")
        return "\n".join(text.splitlines()[-lines:])

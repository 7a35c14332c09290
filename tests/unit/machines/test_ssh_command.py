"""One command on one channel, where the order of what the other side says matters."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from bessemer.machines.ssh_command import Conversation, NotBegunError
from bessemer.machines.ssh_frame import Frame


class SilentChannel:
    """A channel to a shell that reads its input before the command, and ends with an exit code when it is closed."""

    def __init__(self, exit_code: int, greeting: bytes = b"") -> None:
        self.exit_code = exit_code
        self.greeting = greeting
        self.closed = threading.Event()

    def exec_command(self, command: str) -> None:
        """Take a command; see paramiko.Channel."""

    def recv(self, count: int) -> bytes:
        part, self.greeting = self.greeting[:count], b""
        if not part:
            self.closed.wait()
        return part

    def recv_stderr(self, count: int) -> bytes:  # noqa: ARG002  paramiko's
        self.closed.wait()
        return b""

    def shutdown_write(self) -> None:
        """Send the end of the input; see paramiko.Channel."""

    def close(self) -> None:
        self.closed.set()

    def recv_exit_status(self) -> int:
        self.closed.wait()
        return self.exit_code


@pytest.mark.parametrize("exit_code", [-1, 0, 1])
def test_a_silent_shell_is_late_however_it_ends_when_its_time_is_up(exit_code: int) -> None:
    channel: Any = SilentChannel(exit_code)
    with pytest.raises(TimeoutError):
        Conversation(channel, Frame()).hold("true", b"input", 0.05)
    assert channel.closed.is_set()


@pytest.mark.parametrize("exit_code", [-1, 0])
def test_a_shell_that_only_greets_until_its_time_is_up_is_unusable(exit_code: int) -> None:
    channel: Any = SilentChannel(exit_code, b"Welcome\n")
    with pytest.raises(NotBegunError, match="Welcome"):
        Conversation(channel, Frame()).hold("true", b"", 0.05)

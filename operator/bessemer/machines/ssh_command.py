"""One command on one channel of an SSH connection."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import paramiko

from bessemer.machines.ssh_frame import GREETING_BYTES, Frame, FramedOutput, build_complaint

OUTPUT_LIMIT = 32 << 20
"""Bytes of a command's output that are read; a journal of a thousand nodes has some."""


class NotBegunError(Exception):
    """The shell never came to the command."""


class Conversation:
    """One command on one channel: feeds it and reads both its outputs at once, so that neither side blocks forever."""

    def __init__(self, channel: paramiko.Channel, frame: Frame) -> None:
        self._channel = channel
        self._frame = frame
        self._stdout, self._stderr = FramedOutput(frame), FramedOutput(frame)
        self._may_feed = threading.Event()
        self._expired = threading.Event()

    def hold(self, command: str, stdin: bytes, timeout_seconds: float) -> tuple[int, str, str]:
        """Run a command and return its exit code, output and errors.

        Raises TimeoutError, NotBegunError, or what paramiko raises.
        """
        timer = threading.Timer(timeout_seconds, self._expire)
        timer.start()
        try:
            self._channel.exec_command(self._frame.wrap(command))
            with ThreadPoolExecutor(max_workers=2) as pool:
                pool.submit(self._feed, stdin)
                errors = pool.submit(self._read, self._channel.recv_stderr, self._stderr)
                try:
                    self._read(self._channel.recv, self._stdout, self._may_feed.set)
                finally:
                    self._may_feed.set()
            errors.result()
            exit_code = self._channel.recv_exit_status()
        finally:
            timer.cancel()
        # A shell that is only slow prints nothing until its time is up, and one that redirects its output has begun.
        # When it is up, the channel is closed, of which the shell ends: its exit code then says nothing.
        alive = self._stdout.greeting or self._stderr.greeting or self._stderr.begun
        expired = self._expired.is_set()
        if not self._stdout.begun and (alive if expired else exit_code >= 0):
            raise NotBegunError(build_complaint(self._stdout, self._stderr))
        if expired:
            raise TimeoutError
        stdout, stderr = self._stdout.take(), self._stderr.take()
        if exit_code < 0 or stdout is None or stderr is None:
            raise EOFError("it was closed before the command ended")
        return exit_code, stdout, stderr

    def _expire(self) -> None:
        self._expired.set()
        self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError, EOFError):  # closed here, whether or not the other side can still be told
            self._channel.close()

    def _feed(self, stdin: bytes) -> None:
        self._may_feed.wait()  # set at the first mark, or when nothing more comes
        with contextlib.suppress(OSError):  # a command may end without having read its input; its exit code says how
            if self._stdout.begun:
                self._channel.sendall(stdin)
            self._channel.shutdown_write()

    def _read(
        self, receive: Callable[[int], bytes], output: FramedOutput, when_begun: Callable[[], None] = lambda: None
    ) -> None:
        while part := receive(65536):
            output.add(part)
            if output.begun:
                when_begun()
            elif output.size > GREETING_BYTES:
                self._close()
                raise NotBegunError(build_complaint(self._stdout, self._stderr))
            if output.size > OUTPUT_LIMIT:
                self._close()
                raise EOFError(f"the command wrote more than {OUTPUT_LIMIT} bytes")

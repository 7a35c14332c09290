"""The door to machines' SSH: probe, run a command, upload a file.

The host key must be the one we expect; anything else is refused, before we authenticate. Why a machine can't be used
is told apart by class: nobody answers, somebody else answers, or it doesn't take our key.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import paramiko

from bessemer.errors import Retry
from bessemer.phases.machines import SshTarget

CONNECT_TIMEOUT_SECONDS = 10.0
KEEPALIVE_SECONDS = 15
OUTPUT_LIMIT = 32 << 20
"""Bytes of a command's output that are read; a journal of a thousand nodes has some."""

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs what we raise, with tracebacks


class SshFailure(Retry):
    """A machine can't be used by SSH; the subclass says why."""


class SshUnreachable(SshFailure):
    """Nobody answers, or the connection broke off."""

    def __init__(self, message: str) -> None:
        super().__init__("Unreachable", message)


class HostKeyMismatch(SshFailure):
    """Somebody answers with another host key than the machine must have."""

    def __init__(self, message: str) -> None:
        super().__init__("HostKeyMismatch", message)


class SshRefused(SshFailure):
    """The right machine answers, but doesn't take our key."""

    def __init__(self, message: str) -> None:
        super().__init__("SshRefused", message)


class SshTimeout(SshFailure):
    """A command didn't end within its deadline."""

    def __init__(self, message: str) -> None:
        super().__init__("SshTimeout", message)


@dataclass(frozen=True)
class CommandResult:
    """What a command left."""

    exit_code: int
    stdout: str
    stderr: str


class Ssh(Protocol):
    """Reaches machines by SSH with the build's login key.

    Raises (all methods): SshUnreachable, HostKeyMismatch, SshRefused, SshTimeout.
    """

    def probe(self, target: SshTarget, timeout_seconds: float) -> None:
        """Connect anew, check the host key and log in; returns if all that went well."""
        ...

    def run(self, target: SshTarget, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> CommandResult:
        """Run a shell command; its exit code is a result, not an error."""
        ...

    def upload(self, target: SshTarget, content: bytes, path: str, mode: int = 0o644) -> None:
        """Write a file whole or not at all: beside its place, then renamed into it."""
        ...

    def close(self) -> None:
        """Close the connections that were kept."""
        ...


def build_fingerprint(public_key: str) -> str:
    """Give the fingerprint of a public key (type and base64) as OpenSSH shows it: ``SHA256:...``."""
    digest = hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class ParamikoSsh:
    """SSH by paramiko; keeps one connection to each machine that commands are run on, and to each jump host."""

    def __init__(self, private_key: str) -> None:
        self._key = paramiko.Ed25519Key.from_private_key(io.StringIO(private_key))
        self._kept: dict[SshTarget, paramiko.Transport] = {}
        self._lock = threading.Lock()

    def probe(self, target: SshTarget, timeout_seconds: float) -> None:
        """Connect anew; see Ssh."""
        self._connect(target, timeout_seconds).close()

    def run(self, target: SshTarget, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> CommandResult:
        """Run a command; see Ssh."""
        transport = self._transport(target)
        try:
            with transport.open_session(timeout=CONNECT_TIMEOUT_SECONDS) as channel:
                return _communicate(channel, command, stdin, timeout_seconds)
        except TimeoutError as error:
            raise SshTimeout(f"{target.name}: a command didn't end within {timeout_seconds:g} s") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise SshUnreachable(f"{target.name}: connection lost: {_say(error)}") from error

    def upload(self, target: SshTarget, content: bytes, path: str, mode: int = 0o644) -> None:
        """Write a file; see Ssh."""
        transport = self._transport(target)
        partial = f"{path}.part"
        try:
            with transport.open_session(timeout=CONNECT_TIMEOUT_SECONDS) as channel:
                channel.settimeout(CONNECT_TIMEOUT_SECONDS)
                channel.invoke_subsystem("sftp")
                with paramiko.SFTPClient(channel) as sftp:
                    with sftp.open(partial, "w") as stream:
                        stream.set_pipelined(True)
                        stream.chmod(mode)
                        stream.write(content)
                    sftp.posix_rename(partial, path)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise SshUnreachable(f"{target.name}: upload of {path} failed: {_say(error)}") from error

    def close(self) -> None:
        """Close kept connections; see Ssh."""
        with self._lock:
            for transport in self._kept.values():
                transport.close()
            self._kept.clear()

    def _transport(self, target: SshTarget) -> paramiko.Transport:
        """Give the kept connection to a machine; makes it if there is none or it is dead."""
        with self._lock:
            kept = self._kept.get(target)
        if kept is not None and kept.is_active():
            return kept
        made = self._connect(target, CONNECT_TIMEOUT_SECONDS)
        with self._lock:
            now_kept = self._kept.get(target)
            if now_kept is not None and now_kept.is_active():  # another thread was faster
                made.close()
                return now_kept
            self._kept[target] = made
        return made

    def _connect(self, target: SshTarget, timeout_seconds: float) -> paramiko.Transport:
        where = f"{target.name} ({target.address}:{target.port})"
        try:
            stream = self._open_stream(target, timeout_seconds)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise SshUnreachable(f"{where}: {_say(error)}") from error
        transport = paramiko.Transport(stream)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout_seconds
        try:
            self._log_in(transport, target, where, timeout_seconds)
        except BaseException:
            transport.close()
            raise
        return transport

    def _open_stream(self, target: SshTarget, timeout_seconds: float) -> socket.socket | paramiko.Channel:
        if target.jump is None:
            return socket.create_connection((target.address, target.port), timeout_seconds)
        jump = self._transport(target.jump)
        return jump.open_channel(
            "direct-tcpip", (target.address, target.port), ("127.0.0.1", 0), timeout=timeout_seconds
        )

    def _log_in(self, transport: paramiko.Transport, target: SshTarget, where: str, timeout_seconds: float) -> None:
        _prefer_key_type(transport, target.host_key.split()[0])
        try:
            transport.start_client(timeout=timeout_seconds)
            found = transport.get_remote_server_key()
            shown = f"{found.get_name()} {found.get_base64()}"
            if shown != target.host_key:
                expected, actual = build_fingerprint(target.host_key), build_fingerprint(shown)
                raise HostKeyMismatch(f"{where}: its host key is {actual}, it must be {expected}")
            transport.set_keepalive(KEEPALIVE_SECONDS)
            transport.auth_publickey(target.user, self._key)
        except paramiko.AuthenticationException as error:
            raise SshRefused(f"{where}: doesn't take our key for user {target.user}") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise SshUnreachable(f"{where}: {_say(error)}") from error


def _prefer_key_type(transport: paramiko.Transport, key_type: str) -> None:
    """Ask for the type of key that we know, so that a server with several shows that one."""
    options = transport.get_security_options()
    names = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}.get(key_type, (key_type,))
    supported = tuple(options.key_types)
    options.key_types = sorted(supported, key=lambda name: name not in names)


def _communicate(channel: paramiko.Channel, command: str, stdin: bytes, timeout_seconds: float) -> CommandResult:
    """Run a command; feeds it and reads both its outputs at once, so that neither side waits for the other for ever."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        with contextlib.suppress(OSError, EOFError):  # closed here, whether or not the other side can still be told
            channel.close()

    timer = threading.Timer(timeout_seconds, expire)
    timer.start()
    try:
        channel.exec_command(command)
        with ThreadPoolExecutor(max_workers=2) as pool:
            pool.submit(_feed, channel, stdin)
            stderr = pool.submit(_read_all, channel.recv_stderr)
            stdout = _read_all(channel.recv)
        exit_code = channel.recv_exit_status()
    finally:
        timer.cancel()
    if expired.is_set():
        raise TimeoutError
    if exit_code < 0:
        raise EOFError("it was closed before the command ended")
    return CommandResult(exit_code, stdout, stderr.result())


def _feed(channel: paramiko.Channel, stdin: bytes) -> None:
    with contextlib.suppress(OSError):  # a command may end without having read its input; its exit code says how
        channel.sendall(stdin)
        channel.shutdown_write()


def _read_all(receive: Callable[[int], bytes]) -> str:
    output = bytearray()
    while part := receive(65536):
        output += part
        if len(output) > OUTPUT_LIMIT:
            raise EOFError(f"the command wrote more than {OUTPUT_LIMIT} bytes")
    return output.decode(errors="replace")


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__

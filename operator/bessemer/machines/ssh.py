"""The SSH client: probe a machine, run a command, upload a file.

The host key must be the one we expect; anything else is refused, before we authenticate. Why a machine can't be used
has a class for each cause: no answer, the wrong host key, or our key is rejected.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import shlex
import socket
import threading
from dataclasses import dataclass
from typing import Protocol

import paramiko

from bessemer.api.reasons import HOST_KEY_MISMATCH
from bessemer.errors import Retry
from bessemer.foreign import make_line
from bessemer.machines.machine import SshTarget
from bessemer.machines.ssh_command import Conversation, NotBegunError
from bessemer.machines.ssh_frame import Frame

CONNECT_TIMEOUT_SECONDS = 10.0
KEEPALIVE_SECONDS = 15
UPLOAD_SECONDS = 600.0

_CONNECT_FAILED = 2
"""The reason of a refused channel that speaks of the machine behind. Source: RFC 4254, 5.1"""

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs what we raise, with tracebacks


class SshFailure(Retry):
    """A machine can't be used by SSH; the subclass says why."""


class SshUnreachable(SshFailure):
    """No answer, or the connection was lost."""

    def __init__(self, message: str) -> None:
        super().__init__("Unreachable", message)


class HostKeyMismatch(SshFailure):
    """The server has another host key than expected."""

    def __init__(self, message: str) -> None:
        super().__init__(HOST_KEY_MISMATCH, message)


class SshRefused(SshFailure):
    """The right machine answers, but doesn't take our key."""

    def __init__(self, message: str) -> None:
        super().__init__("SshRefused", message)


class JumpUnusable(SshFailure):
    """The machine that the connection goes through can't be used: nothing is known of the one behind it."""

    def __init__(self, why: SshFailure) -> None:
        super().__init__(why.reason, why.message)


class SshTimeout(SshFailure):
    """A command didn't end within its deadline."""

    def __init__(self, message: str) -> None:
        super().__init__("SshTimeout", message)


class ShellUnusable(SshFailure):
    """The login succeeded, but the user's shell didn't run the command; the message has what it printed instead."""

    def __init__(self, message: str) -> None:
        super().__init__("ShellUnusable", message)


@dataclass(frozen=True)
class CommandResult:
    """What a command left."""

    exit_code: int
    stdout: str
    stderr: str


class Ssh(Protocol):
    """Reaches machines by SSH with the build's login key.

    What start-up files of the user's shell print is no part of any output. Input and uploads are whole or fail.

    Raises (all methods): SshUnreachable, HostKeyMismatch, SshRefused, SshTimeout, ShellUnusable; JumpUnusable, where
    what is wrong is the machine that the connection goes through.
    """

    def probe(self, target: SshTarget, timeout_seconds: float) -> None:
        """Reconnect, check the host key and log in; returns if all that went well."""
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
    """Return the fingerprint of a public key (type and base64) as OpenSSH shows it: ``SHA256:...``."""
    digest = hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class ParamikoSsh:
    """SSH by paramiko; keeps one connection to each machine that commands are run on, and to each jump host."""

    def __init__(self, private_key: str) -> None:
        self._key = paramiko.Ed25519Key.from_private_key(io.StringIO(private_key))
        self._kept: dict[SshTarget, paramiko.Transport] = {}
        self._lock = threading.Lock()

    def probe(self, target: SshTarget, timeout_seconds: float) -> None:
        """Reconnect; see Ssh."""
        self._connect(target, timeout_seconds).close()

    def run(self, target: SshTarget, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> CommandResult:
        """Run a command; see Ssh."""
        transport = self._transport(target)
        try:
            with transport.open_session(timeout=CONNECT_TIMEOUT_SECONDS) as channel:
                return CommandResult(*Conversation(channel, Frame()).hold(command, stdin, timeout_seconds))
        except TimeoutError as error:
            raise SshTimeout(f"{target.name}: a command didn't end within {timeout_seconds:g} s") from error
        except NotBegunError as error:
            raise ShellUnusable(f"{target.name}: {error}") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise SshUnreachable(f"{target.name}: connection lost: {_say(error)}") from error

    def upload(self, target: SshTarget, content: bytes, path: str, mode: int = 0o644) -> None:
        """Write a file by the commands of the machine, as a greeting of its shell would break SFTP; see Ssh.

        The size is checked before the file takes its place: a connection that breaks looks like the end of the input.
        """
        file, partial = shlex.quote(path), shlex.quote(f"{path}.part")
        command = (
            f"umask 077 && cat >{partial} && test $(wc -c <{partial}) -eq {len(content)} "
            f"&& chmod {mode:o} {partial} && mv -f {partial} {file}"
        )
        result = self.run(target, command, content, UPLOAD_SECONDS)
        if result.exit_code != 0:
            said = make_line(result.stderr, 200) or f"exit code {result.exit_code}"
            raise SshUnreachable(f"{target.name}: upload of {path} failed: {said}")

    def close(self) -> None:
        """Close kept connections; see Ssh."""
        with self._lock:
            for transport in self._kept.values():
                transport.close()
            self._kept.clear()

    def _transport(self, target: SshTarget) -> paramiko.Transport:
        """Return the kept connection to a machine; makes it if there is none or it is dead."""
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
        try:
            jump = self._transport(target.jump)
        except SshFailure as error:
            raise JumpUnusable(error) from error
        behind = (target.address, target.port)
        try:
            return jump.open_channel("direct-tcpip", behind, ("127.0.0.1", 0), timeout=timeout_seconds)
        except (paramiko.SSHException, OSError, EOFError) as error:
            refused = error.code if isinstance(error, paramiko.ChannelException) else _CONNECT_FAILED
            if jump.is_active() and refused == _CONNECT_FAILED:
                raise
            raise JumpUnusable(SshUnreachable(f"{target.jump.name}: opens no connection: {_say(error)}")) from error

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


def _say(error: Exception) -> str:
    return make_line(str(error)) or type(error).__name__

"""The SSH client against a server in this process; tests/contract runs it against a real sshd."""

from __future__ import annotations

import contextlib
import io
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from bessemer.machines.machine import SshTarget
from bessemer.machines.secrets import SshKeyPair, parse_login_key
from bessemer.machines.ssh import (
    HostKeyMismatch,
    JumpUnusable,
    ParamikoSsh,
    ShellUnusable,
    SshRefused,
    SshTimeout,
    SshUnreachable,
    build_fingerprint,
)
from bessemer.machines.ssh_frame import Frame, FramedOutput
from tests.fakes.ssh import FakeSsh, FakeSshMachine, refuse_command
from tests.unit.machines.test_machine import make_openssh_key


def make_key() -> SshKeyPair:
    return parse_login_key(make_openssh_key(), "test")


class Account(paramiko.ServerInterface):
    """Takes one key, runs commands as bash does, start-up file first, and lets connections be forwarded."""

    def __init__(self, login: SshKeyPair) -> None:
        self.login = login
        self.startup = ""
        """What its .bashrc has."""

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002  paramiko's
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002  paramiko's
        known = f"{key.get_name()} {key.get_base64()}" == self.login.public
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002  paramiko's
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        # paramiko answers the request only when this has returned, and a command may end sooner.
        starter = threading.Timer(0.05, self.execute, (channel, command))
        starter.daemon = True
        starter.start()
        return True

    def execute(self, channel: paramiko.Channel, command: bytes) -> None:
        pipe = subprocess.PIPE
        line = f"{self.startup}\n{command.decode()}"
        with subprocess.Popen(["bash", "-c", line], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as shell:
            assert shell.stdin
            assert shell.stdout
            assert shell.stderr
            threads = [
                threading.Thread(target=self.copy_input, args=(channel, shell.stdin), daemon=True),
                threading.Thread(target=self.copy, args=(shell.stderr, channel.sendall_stderr), daemon=True),
            ]
            for thread in threads:
                thread.start()
            self.copy(shell.stdout, channel.sendall)
            threads[1].join()
            if channel.closed:
                shell.kill()
            with contextlib.suppress(OSError, EOFError):  # the client may have closed it
                if b"kill -9 $PPID" in command:
                    channel.get_transport().close()
                else:
                    channel.send_exit_status(shell.wait() % 256)
                    channel.close()
            threads[0].join()

    @staticmethod
    def copy(stream: IO[bytes], send: Callable[[bytes], object]) -> None:
        with contextlib.suppress(OSError, EOFError):  # the other side may close the channel
            while part := stream.read(65536):
                send(part)

    @staticmethod
    def copy_input(channel: paramiko.Channel, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError):  # the command may end without having read it
            while part := channel.recv(65536):
                stream.write(part)
        with contextlib.suppress(OSError):
            stream.close()


class Server:
    """An SSH server on loopback, made of paramiko's server half."""

    def __init__(self, login: SshKeyPair) -> None:
        self.host_key = make_key()
        self.account = Account(login)
        self.transports: list[paramiko.Transport] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(paramiko.Ed25519Key.from_private_key(io.StringIO(self.host_key.private)))
            self.transports.append(transport)
            try:
                transport.start_server(server=self.account, event=threading.Event())
            except paramiko.SSHException:
                continue

    def target(self) -> SshTarget:
        return SshTarget("here", "127.0.0.1", self.host_key.public, self.listener.getsockname()[1])

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for transport in self.transports:
            transport.close()


@pytest.fixture
def login() -> SshKeyPair:
    return make_key()


@pytest.fixture
def server(login: SshKeyPair) -> Iterator[Server]:
    made = Server(login)
    yield made
    made.close()


@pytest.fixture
def ssh(login: SshKeyPair) -> Iterator[ParamikoSsh]:
    made = ParamikoSsh(login.private)
    yield made
    made.close()


def test_commands_share_a_connection_that_is_replaced_when_it_breaks(ssh: ParamikoSsh, server: Server) -> None:
    for _ in range(2):
        result = ssh.run(server.target(), "cat; printf words >&2; exit 3", b"input" * 50_000)
        assert (result.exit_code, result.stdout, result.stderr) == (3, "input" * 50_000, "words")
    assert len(server.transports) == 1
    with pytest.raises(SshUnreachable, match="connection lost"):
        ssh.run(server.target(), "kill -9 $PPID")
    assert ssh.run(server.target(), "exit 3").exit_code == 3
    assert len(server.transports) == 2


def test_a_command_that_hangs_ends_at_its_deadline(ssh: ParamikoSsh, server: Server) -> None:
    with pytest.raises(SshTimeout, match=r"within 0\.5 s"):
        ssh.run(server.target(), "exec sleep 5", timeout_seconds=0.5)
    server.account.startup = "exec cat"
    with pytest.raises(SshTimeout, match=r"within 0\.5 s"):
        ssh.run(server.target(), "true", b"input", timeout_seconds=0.5)


def test_another_host_key_is_refused(ssh: ParamikoSsh, server: Server) -> None:
    other = make_key().public
    with pytest.raises(HostKeyMismatch) as caught:
        ssh.probe(replace(server.target(), host_key=other), 5)
    assert build_fingerprint(other) in caught.value.message
    assert build_fingerprint(server.host_key.public) in caught.value.message


def test_another_login_key_is_refused(server: Server) -> None:
    with pytest.raises(SshRefused, match="user root"):
        ParamikoSsh(make_key().private).probe(server.target(), 5)


def test_a_closed_port_and_a_server_that_does_not_speak_ssh_are_unreachable(ssh: ParamikoSsh) -> None:
    key = make_key().public
    with pytest.raises(SshUnreachable):
        ssh.probe(SshTarget("gone", "127.0.0.1", key, 1), 1)
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(SshUnreachable):
        ssh.probe(SshTarget("mute", "127.0.0.1", key, mute.getsockname()[1]), 0.3)
    with pytest.raises(SshUnreachable):
        ssh.upload(SshTarget("gone", "127.0.0.1", key, 1), b"", "/nonexistent")


def test_an_uploaded_file_has_content_and_mode_whatever_the_shell_prints(
    ssh: ParamikoSsh, server: Server, tmp_path: Path
) -> None:
    server.account.startup = "echo Welcome; printf part; echo Oh >&2"
    path = tmp_path / "it's here"
    for content in (b"first", b"\x00second" * 100_000, b""):
        ssh.upload(server.target(), content, str(path), 0o640)
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (content, 0o640)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "startup",
    [
        "echo Welcome to oxygen1",
        "printf Welcome",
        "echo Welcome >&2; printf more >&2",
        "printf '\\377\\000\\033]0;title\\007\\r'",
        "head -c 900000 /dev/urandom",
        "trap 'echo Good bye' EXIT",
        "set -xv; PS4='+ '",
        "export SHELLOPTS; set -e",
        "alias printf=false; shopt -s expand_aliases; printf() { echo mine; }; cat() { echo mine; }",
        "yes | head -c 100000 >&2",
        "echo 'bessemer-begin:0;bessemer-end:0;'",
        "read -t 0.2 line",
    ],
)
def test_what_start_up_files_print_is_no_part_of_any_output(ssh: ParamikoSsh, server: Server, startup: str) -> None:
    server.account.startup = startup
    text = "line\n\n" * 20_000 + "end"
    result = ssh.run(server.target(), "cat; printf oops >&2; exit 4", text.encode())
    assert (result.exit_code, result.stdout, result.stderr) == (4, text, "oops")


@pytest.mark.parametrize(
    ("startup", "shown"),
    [
        ("echo Welcome; exit 0", "its shell prints: Welcome;"),
        ("echo This account is not available. >&2; exit 1", "its shell prints: This account is not available.;"),
        ("printf '\\033]0;x\\007\\033[1mSure?'; read -r answer; read -r again", "its shell prints: Sure?;"),
        ("exec >/dev/null", "its shell prints nothing;"),
        ("exec yes no", "its shell prints: no no no "),
    ],
)
def test_a_shell_that_does_not_run_the_command_is_told_apart(
    ssh: ParamikoSsh, server: Server, startup: str, shown: str
) -> None:
    server.account.startup = startup
    with pytest.raises(ShellUnusable) as caught:
        ssh.run(server.target(), "cat", b"input", timeout_seconds=4)
    assert shown in caught.value.message
    assert len(caught.value.message) < 400


@given(greeting=st.binary(max_size=300), output=st.binary(max_size=300), sizes=st.lists(st.integers(1, 40)))
def test_output_is_found_between_its_marks_however_it_comes_in(
    greeting: bytes, output: bytes, sizes: list[int]
) -> None:
    frame = Frame("f" * 32)
    whole = greeting + frame.begin + output + frame.end + greeting
    framed = FramedOutput(frame)
    for size in [*sizes, len(whole)]:
        framed.add(whole[:size])
        whole = whole[size:]
    assert framed.greeting == greeting
    assert framed.take() == output.decode(errors="replace")


def test_an_upload_that_the_server_refuses_is_told(ssh: ParamikoSsh, server: Server) -> None:
    with pytest.raises(SshUnreachable, match="upload of /nonexistent/file failed"):
        ssh.upload(server.target(), b"content", "/nonexistent/file")


def test_the_fake_tells_the_same_things_apart() -> None:
    fake, key = FakeSsh(), make_key().public
    jump = SshTarget("jump", "127.0.0.1", key)
    target = SshTarget("node", "127.0.0.1", key, jump=jump)
    with pytest.raises(JumpUnusable, match="jump"):
        fake.probe(target, 1)
    fake.machines["jump"] = FakeSshMachine(key)
    fake.machines["node"] = FakeSshMachine(key, takes_our_key=False)
    with pytest.raises(SshRefused):
        fake.probe(target, 1)
    assert refuse_command("python3 -", b"").exit_code == 127
    assert fake.run(jump, "python3 -").exit_code == 127
    fake.upload(jump, b"content", "/file", 0o600)
    assert fake.machines["jump"].files == {"/file": (0o600, b"content")}

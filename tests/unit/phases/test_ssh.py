"""The SSH door against a server in this process; tests/contract runs it against a real sshd."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import paramiko
import pytest
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from bessemer.phases.machines import SshTarget
from bessemer.phases.secrets import SshKeyPair, parse_login_key
from bessemer.phases.ssh import (
    HostKeyMismatch,
    ParamikoSsh,
    SshRefused,
    SshTimeout,
    SshUnreachable,
    build_fingerprint,
)
from bessemer.phases.ssh_fake import FakeSsh, FakeSshMachine, refuse_command
from tests.unit.phases.test_machines import make_openssh_key


def make_key() -> SshKeyPair:
    return parse_login_key(make_openssh_key(), "test")


class Account(paramiko.ServerInterface):
    """Takes one key, runs three commands, and lets connections be forwarded."""

    def __init__(self, login: SshKeyPair) -> None:
        self.login = login

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002  paramiko's
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002  paramiko's
        known = f"{key.get_name()} {key.get_base64()}" == self.login.public
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002  paramiko's
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.execute, args=(channel, command), daemon=True).start()
        return True

    def execute(self, channel: paramiko.Channel, command: bytes) -> None:
        if command == b"hang":
            return
        if command == b"die":
            channel.get_transport().close()
            return
        while part := channel.recv(65536):
            channel.sendall(part)
        channel.sendall_stderr(b"words")
        channel.send_exit_status(3)
        channel.close()


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
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer)
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


def test_commands_share_a_connection_that_is_made_anew_when_it_breaks(ssh: ParamikoSsh, server: Server) -> None:
    for _ in range(2):
        result = ssh.run(server.target(), "cat", b"input" * 50_000)
        assert (result.exit_code, result.stdout, result.stderr) == (3, "input" * 50_000, "words")
    assert len(server.transports) == 1
    with pytest.raises(SshUnreachable, match="connection lost"):
        ssh.run(server.target(), "die")
    assert ssh.run(server.target(), "cat").exit_code == 3
    assert len(server.transports) == 2


def test_a_command_that_hangs_ends_at_its_deadline(ssh: ParamikoSsh, server: Server) -> None:
    with pytest.raises(SshTimeout, match=r"within 0\.2 s"):
        ssh.run(server.target(), "hang", timeout_seconds=0.2)


def test_another_host_key_is_refused(ssh: ParamikoSsh, server: Server) -> None:
    other = make_key().public
    with pytest.raises(HostKeyMismatch) as caught:
        ssh.probe(replace(server.target(), host_key=other), 5)
    assert build_fingerprint(other) in caught.value.message
    assert build_fingerprint(server.host_key.public) in caught.value.message


def test_another_login_key_is_refused(server: Server) -> None:
    with pytest.raises(SshRefused, match="user root"):
        ParamikoSsh(make_key().private).probe(server.target(), 5)


def test_nobody_and_somebody_who_does_not_speak_ssh_are_unreachable(ssh: ParamikoSsh) -> None:
    key = make_key().public
    with pytest.raises(SshUnreachable):
        ssh.probe(SshTarget("gone", "127.0.0.1", key, 1), 1)
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(SshUnreachable):
        ssh.probe(SshTarget("mute", "127.0.0.1", key, mute.getsockname()[1]), 0.3)
    with pytest.raises(SshUnreachable):
        ssh.upload(SshTarget("gone", "127.0.0.1", key, 1), b"", "/nonexistent")


def test_an_upload_that_the_server_refuses_is_told(ssh: ParamikoSsh, server: Server) -> None:
    with pytest.raises(SshUnreachable, match="upload of /nonexistent/file failed"):
        ssh.upload(server.target(), b"content", "/nonexistent/file")


def test_the_fake_tells_the_same_things_apart() -> None:
    fake, key = FakeSsh(), make_key().public
    jump = SshTarget("jump", "127.0.0.1", key)
    target = SshTarget("node", "127.0.0.1", key, jump=jump)
    with pytest.raises(SshUnreachable, match="jump"):
        fake.probe(target, 1)
    fake.machines["jump"] = FakeSshMachine(key)
    fake.machines["node"] = FakeSshMachine(key, takes_our_key=False)
    with pytest.raises(SshRefused):
        fake.probe(target, 1)
    assert refuse_command("python3 -", b"").exit_code == 127
    assert fake.run(jump, "python3 -").exit_code == 127
    fake.upload(jump, b"content", "/file", 0o600)
    assert fake.machines["jump"].files == {"/file": (0o600, b"content")}

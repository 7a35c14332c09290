"""Every SSH client behaves alike: the fake, and paramiko against a real sshd."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bessemer.machines.machine import SshTarget
from bessemer.machines.secrets import BuildSecrets, SshKeyPair, parse_login_key
from bessemer.machines.ssh import (
    CommandResult,
    HostKeyMismatch,
    JumpUnusable,
    ParamikoSsh,
    ShellUnusable,
    Ssh,
    SshRefused,
    SshTimeout,
    SshUnreachable,
    build_fingerprint,
)
from bessemer.machines.ssh_files import write_ssh_files
from tests.contract.machines.daemons import Sshd, find_free_port, run_sshd
from tests.fakes.ssh import FakeSsh, FakeSshMachine


def make_key() -> SshKeyPair:
    key = Ed25519PrivateKey.generate()
    return parse_login_key(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), "test")


def answer(command: str, stdin: bytes) -> CommandResult:
    """What the fake machine's shell answers to the commands of these tests."""
    return {
        "cat": CommandResult(0, stdin.decode(), ""),
        "echo oops >&2; exit 3": CommandResult(3, "", "oops\n"),
    }[command]


@dataclass(frozen=True)
class Setup:
    """A client, and a machine behind it that takes its key."""

    ssh: Ssh
    target: SshTarget
    stop: Callable[[], None]
    refuse: Callable[[], None]
    """Makes the machine forget our key."""
    read: Callable[[Path], tuple[int, bytes]]
    """Reads an uploaded file: mode and content."""


@pytest.fixture(params=["fake", "paramiko"])
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    host_key, login = make_key(), make_key()
    if request.param == "fake":
        fake = FakeSsh()
        machine = fake.machines["here"] = FakeSshMachine(host_key.public, command=answer)
        yield Setup(
            ssh=fake,
            target=SshTarget("here", "127.0.0.1", host_key.public),
            stop=lambda: setattr(machine, "reachable", False),
            refuse=lambda: setattr(machine, "takes_our_key", False),
            read=lambda path: machine.files[str(path)],
        )
        return
    with contextlib.ExitStack() as daemon:
        sshd = daemon.enter_context(run_sshd(tmp_path / "sshd", host_key, login.public))
        ssh = ParamikoSsh(login.private)
        yield Setup(
            ssh=ssh,
            target=sshd.target(),
            stop=daemon.close,
            refuse=(tmp_path / "sshd/authorized_keys").unlink,
            read=lambda path: (path.stat().st_mode & 0o777, path.read_bytes()),
        )
        ssh.close()


def test_a_command_gets_its_input_and_gives_output_and_exit_code(setup: Setup) -> None:
    text = "x" * 300_000
    assert setup.ssh.run(setup.target, "cat", text.encode()) == CommandResult(0, text, "")
    assert setup.ssh.run(setup.target, "echo oops >&2; exit 3") == CommandResult(3, "", "oops\n")


def test_an_uploaded_file_has_content_and_mode(setup: Setup, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"\x00second" * 100_000):
        setup.ssh.upload(setup.target, content, str(path), 0o600)
        assert setup.read(path) == (0o600, content)


def test_a_probe_of_the_right_machine_succeeds(setup: Setup) -> None:
    setup.ssh.probe(setup.target, 5)


def test_another_host_key_is_refused_and_both_fingerprints_are_named(setup: Setup) -> None:
    other = make_key().public
    wrong = dataclasses.replace(setup.target, host_key=other)
    uses: list[Callable[[], object]] = [lambda: setup.ssh.probe(wrong, 5), lambda: setup.ssh.run(wrong, "cat")]
    for use in uses:
        with pytest.raises(HostKeyMismatch) as caught:
            use()
        assert build_fingerprint(other) in caught.value.message
        assert build_fingerprint(setup.target.host_key) in caught.value.message


def test_a_machine_that_does_not_take_our_key_is_told_apart(setup: Setup) -> None:
    setup.refuse()
    with pytest.raises(SshRefused):
        setup.ssh.probe(setup.target, 5)


def test_a_machine_that_is_down_is_unreachable(setup: Setup) -> None:
    setup.ssh.probe(setup.target, 5)
    setup.stop()
    with pytest.raises(SshUnreachable):
        setup.ssh.probe(setup.target, 5)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[ParamikoSsh, Sshd, Sshd, SshKeyPair]]:
    """A client, a machine to jump through and one behind it."""
    login = make_key()
    with (
        run_sshd(tmp_path / "jump", make_key(), login.public) as jump,
        run_sshd(tmp_path / "behind", make_key(), login.public) as behind,
    ):
        ssh = ParamikoSsh(login.private)
        yield ssh, jump, behind, login
        ssh.close()


def test_a_machine_is_reached_through_another(two: tuple[ParamikoSsh, Sshd, Sshd, SshKeyPair]) -> None:
    ssh, jump, behind, _ = two
    target = behind.target("behind", jump.target("jump"))
    ssh.probe(target, 5)
    assert ssh.run(target, "echo $SSH_CONNECTION").stdout.split()[3] == str(behind.port)
    with pytest.raises(HostKeyMismatch):
        ssh.probe(dataclasses.replace(target, host_key=jump.host_key.public), 5)
    with pytest.raises(SshUnreachable):
        ssh.probe(dataclasses.replace(target, port=find_free_port()), 5)
    broken = dataclasses.replace(jump.target("jump"), port=find_free_port())
    with pytest.raises(JumpUnusable):  # nothing is known of the machine behind
        ssh.probe(behind.target("behind", broken), 5)


def test_many_probes_through_one_machine_at_once(two: tuple[ParamikoSsh, Sshd, Sshd, SshKeyPair]) -> None:
    ssh, jump, behind, _ = two
    target = behind.target("behind", jump.target("jump"))
    failures: list[Exception] = []

    def probe() -> None:
        try:
            ssh.probe(target, 20)
        except SshUnreachable as error:
            failures.append(error)

    threads = [threading.Thread(target=probe) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_shell_that_greets_spoils_neither_output_nor_input_nor_files(tmp_path: Path) -> None:
    host_key, login = make_key(), make_key()
    startup = tmp_path / ".bashrc"
    with run_sshd(tmp_path / "sshd", host_key, login.public, home=tmp_path) as sshd:
        ssh, target = ParamikoSsh(login.private), sshd.target()
        startup.write_text(
            "echo Welcome to oxygen1; printf '\\377part'; echo Oh >&2; trap 'echo Bye' EXIT; read -t 0.1 x\n"
        )
        assert ssh.run(target, "cat; echo oops >&2; exit 3", b"in\nput") == CommandResult(3, "in\nput", "oops\n")
        ssh.upload(target, b"\x00content" * 100_000, str(tmp_path / "file"), 0o600)
        assert (tmp_path / "file").read_bytes() == b"\x00content" * 100_000
        startup.write_text("echo Not today; exit 0\n")
        with pytest.raises(ShellUnusable, match="its shell prints: Not today;"):
            ssh.run(target, "true")
        startup.write_text("echo Password?; read -r answer\n")
        with pytest.raises(ShellUnusable, match=r"its shell prints: Password\?;"):
            ssh.run(target, "true", timeout_seconds=1)
        ssh.close()


def test_openssh_reaches_both_with_the_files_we_write(
    two: tuple[ParamikoSsh, Sshd, Sshd, SshKeyPair], tmp_path: Path
) -> None:
    _, jump, behind, login = two
    target = behind.target("behind", jump.target("jump"))
    files = write_ssh_files(tmp_path / "files", [jump.target("jump"), target], BuildSecrets("uid", b"s" * 32, login))
    ssh = ["ssh", "-F", str(files.config), "behind", "echo $SSH_CONNECTION"]
    done = subprocess.run(ssh, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[3] == str(behind.port)
    files.known_hosts.write_text(f"jump {jump.host_key.public}\nbehind {make_key().public}\n")
    done = subprocess.run(ssh, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_a_command_ends_at_its_deadline(two: tuple[ParamikoSsh, Sshd, Sshd, SshKeyPair]) -> None:
    ssh, jump, _, _ = two
    started = time.monotonic()
    with pytest.raises(SshTimeout):
        ssh.run(jump.target(), "sleep 30", timeout_seconds=1)
    assert time.monotonic() - started < 5
    assert ssh.run(jump.target(), "echo still here").stdout == "still here\n"


def test_a_broken_connection_is_replaced(tmp_path: Path) -> None:
    host_key, login = make_key(), make_key()
    ssh = ParamikoSsh(login.private)
    with run_sshd(tmp_path / "sshd", host_key, login.public) as sshd:
        target = sshd.target()
        assert ssh.run(target, "echo one").stdout == "one\n"
        with pytest.raises(SshUnreachable):
            ssh.run(target, "kill $PPID")  # the session's own sshd
        deadline = time.monotonic() + 10
        while True:
            try:
                assert ssh.run(target, "echo two").stdout == "two\n"
                break
            except SshUnreachable:
                assert time.monotonic() < deadline
        ssh.close()

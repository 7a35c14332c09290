"""Ansible for real, by ansible-runner, against sshd on loopback: outcomes, secrets, jumps and being stopped."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bessemer.errors import Invalid, Retry
from bessemer.phases.ansible import AnsibleRunner, HostState, PlaybookOutcome, PlaybookRun
from bessemer.phases.clock import Clock, Terminated
from bessemer.phases.machines import SshTarget
from bessemer.phases.secrets import BuildSecrets, SshKeyPair, parse_login_key
from bessemer.phases.ssh_files import write_ssh_files
from tests.contract.phases.daemons import Sshd, find_free_port, run_sshd

SECRET = b"not for anybody else"


def ignore(task: str) -> None:
    """For tests that don't look at progress."""
    assert task


def make_key() -> SshKeyPair:
    key = Ed25519PrivateKey.generate()
    return parse_login_key(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), "test")


class TestClock:
    """Time that doesn't pass; stops when it is told to."""

    __test__ = False

    def __init__(self) -> None:
        self.stopping = False

    def now(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds == 0, "only asked whether to stop"
        if self.stopping:
            raise Terminated


@dataclass
class Setup:
    """A management node, and compute nodes behind it: all the same sshd, as far as that can be told from outside."""

    directory: Path
    sshd: Sshd
    key: SshKeyPair
    clock: TestClock

    def run(
        self,
        tasks: list[dict[str, object]],
        report: Callable[[str], None] = ignore,
        timeout_seconds: float = 60,
        stranger: SshTarget | None = None,
    ) -> PlaybookOutcome:
        management = self.sshd.target("oxygen1")
        targets = [management, self.sshd.target("oxygen2", jump=management)]
        targets += [stranger] if stranger else []
        secrets = BuildSecrets(uid="u1", seed=b"s" * 32, login_key=self.key)
        files = write_ssh_files(self.directory / "ssh", targets, secrets)
        playbook = self.directory / "some.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        run = PlaybookRun(
            playbook=playbook,
            inventory={"all": {"hosts": {target.name: {} for target in targets}}},
            hosts=len(targets),
            timeout_seconds=timeout_seconds,
            secret_files={"munge_key_file": SECRET},
        )
        clock: Clock = self.clock
        return AnsibleRunner(self.directory, files, "oxygen1", clock).run(run, report)


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    monkeypatch.setenv("BESSEMER_PLAYBOOKS", str(Path(__file__).parents[3] / "playbooks"))
    key = make_key()
    # pytest's own folders have names too long for the sockets of ssh.
    with tempfile.TemporaryDirectory() as name, run_sshd(Path(name, "sshd"), make_key(), key.public) as sshd:
        yield Setup(Path(name), sshd, key, TestClock())


def shell(name: str, command: str, **more: object) -> dict[str, object]:
    return {"name": name, "ansible.builtin.shell": command, **more}


def test_a_playbook_succeeds_on_a_host_and_on_one_behind_it(setup: Setup) -> None:
    told: list[str] = []
    outcome = setup.run([shell("Say something", "echo $SSH_CONNECTION")], told.append)
    assert {host: found.state for host, found in outcome.hosts.items()} == {
        "oxygen1": HostState.OK,
        "oxygen2": HostState.OK,
    }
    assert told == ["Say something"]


def test_a_failing_host_is_told_apart_with_its_task_and_message(setup: Setup) -> None:
    tasks = [shell("Break", "echo it is broken >&2; exit 4", when="inventory_hostname == 'oxygen2'")]
    outcome = setup.run(tasks)
    assert outcome.hosts["oxygen1"].state is HostState.OK
    assert outcome.hosts["oxygen2"].state is HostState.FAILED
    assert "Break: non-zero return code: it is broken" in outcome.hosts["oxygen2"].message


def test_a_host_that_does_not_answer_is_unreachable_and_the_others_go_on(setup: Setup) -> None:
    nobody = SshTarget("oxygen3", "127.0.0.1", setup.sshd.host_key.public, find_free_port())
    outcome = setup.run([shell("Say something", "true")], stranger=nobody)
    assert outcome.hosts["oxygen3"].state is HostState.UNREACHABLE
    assert outcome.hosts["oxygen2"].state is HostState.OK
    assert set(outcome.failed()) == {"oxygen3"}


def test_a_host_with_another_key_is_refused(setup: Setup) -> None:
    stranger = SshTarget("oxygen3", "127.0.0.1", make_key().public, setup.sshd.port, setup.sshd.target().user)
    outcome = setup.run([shell("Say something", "true")], stranger=stranger)
    assert outcome.hosts["oxygen3"].state is HostState.UNREACHABLE
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in outcome.hosts["oxygen3"].message


def test_a_secret_file_is_there_for_the_playbook_in_no_command_line_and_gone_afterwards(setup: Setup) -> None:
    seen = setup.directory / "seen"
    tasks: list[dict[str, object]] = [
        {"name": "Give", "ansible.builtin.copy": {"src": "{{ munge_key_file }}", "dest": str(seen)}, "no_log": True},
        shell("Look at command lines", f"cat /proc/[0-9]*/cmdline > {setup.directory}/processes 2>/dev/null || true"),
        shell("Look at the file", f"stat -c %a {setup.directory}/ansible/some/munge_key_file > {setup.directory}/mode"),
    ]
    assert not setup.run(tasks).failed()
    assert seen.read_bytes() == SECRET
    assert (setup.directory / "mode").read_text().strip() == "600"
    command_lines = (setup.directory / "processes").read_bytes()
    assert b"secrets.json" in command_lines
    assert SECRET not in command_lines
    assert not (setup.directory / "ansible" / "some").exists()


def test_a_playbook_that_takes_too_long_is_stopped(setup: Setup) -> None:
    with pytest.raises(Retry, match=r"some\.yml didn't end within 3 s: Sleep") as caught:
        setup.run([shell("Sleep", "sleep 8")], timeout_seconds=3)
    assert caught.value.reason == "PlaybookTimeout"


def test_a_pod_that_is_stopped_stops_its_playbook(setup: Setup) -> None:
    def stop(task: str) -> None:
        setup.clock.stopping = task == "Sleep"

    with pytest.raises(Terminated):
        setup.run([shell("Sleep", "sleep 8")], stop)


def test_a_playbook_that_ansible_cannot_read_says_so(setup: Setup) -> None:
    with pytest.raises(Retry, match=r"no\.such\.module") as caught:
        setup.run([{"name": "Break", "no.such.module": {}}])
    assert caught.value.reason == "PlaybookBroken"


def test_a_playbook_that_is_not_there_is_named(setup: Setup) -> None:
    secrets = BuildSecrets(uid="u1", seed=b"s" * 32, login_key=setup.key)
    files = write_ssh_files(setup.directory / "ssh", [], secrets)
    missing = PlaybookRun(setup.directory / "missing.yml", {}, 1, 60)
    with pytest.raises(Invalid, match=r"missing\.yml"):
        AnsibleRunner(setup.directory, files, "oxygen1", setup.clock).run(missing, ignore)


def test_our_environment_does_not_leak_into_the_phase(setup: Setup) -> None:
    before = dict(os.environ)
    setup.run([shell("Say something", "true")])
    assert dict(os.environ) == before

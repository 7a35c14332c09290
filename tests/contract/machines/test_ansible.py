"""Every Ansible client behaves alike: the fake, and ansible-runner against a real sshd; and what only that can show.

How tasks go, the fake can't know; so each test tells it, and the real one has to go that way.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bessemer.errors import Invalid, Retry
from bessemer.machines.ansible import Ansible, AnsibleRunner, HostOutcome, HostState, PlaybookOutcome, PlaybookRun
from bessemer.machines.clock import Terminated
from bessemer.machines.machine import SshTarget
from bessemer.machines.secrets import BuildSecrets, SshKeyPair, parse_login_key
from bessemer.machines.ssh_files import write_ssh_files
from bessemer.phases.daemon_logs import tell_daemons
from tests.contract.machines.daemons import Sshd, find_free_port, run_sshd
from tests.fakes.ansible import FakeAnsible, FakePlaybook
from tests.support.checkout import ROOT

SECRET = b"not for anybody else"
OK = HostOutcome(HostState.OK)


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
    """A management node, and a compute node behind it, and the Ansible client."""

    directory: Path
    clock: TestClock
    make_ansible: Callable[[Sequence[SshTarget], FakePlaybook], Ansible]
    """Makes the client for some machines; the fake is told how the playbook goes, the real one finds out."""
    targets: Sequence[SshTarget]

    def run(
        self,
        tasks: list[dict[str, object]],
        goes: FakePlaybook,
        report: Callable[[str], None] = ignore,
        *,
        timeout_seconds: float = 60,
        stranger: SshTarget | None = None,
        hosts: str = "all",
        variables: Mapping[str, object] | None = None,
    ) -> PlaybookOutcome:
        """Run a playbook of some tasks on hosts, the inventory with a stranger or with variables more."""
        targets = [*self.targets, *([stranger] if stranger else [])]
        playbook = self.directory / "some.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": hosts, "gather_facts": False, "tasks": tasks}]))
        groups = {"management": ["oxygen1"], "compute": [target.name for target in targets[1:]]}
        children: dict[str, object] = {
            group: {"hosts": {name: dict(variables or {}) for name in names}} for group, names in groups.items()
        }
        run = PlaybookRun(
            playbook=playbook,
            inventory={"all": {"vars": {"everywhere": dict(variables or {})}, "children": children}},
            hosts=len(targets),
            timeout_seconds=timeout_seconds,
            secret_files={"munge_key_file": SECRET},
        )
        before = dict(os.environ)
        try:
            return self.make_ansible(targets, goes).run(run, report)
        finally:
            assert dict(os.environ) == before, "what Ansible needs in its environment is nothing to the phase"


@dataclass
class Real:
    """What is behind the real client: all machines are the same sshd, as far as that can be told from outside."""

    setup: Setup
    sshd: Sshd


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    monkeypatch.setenv("BESSEMER_PLAYBOOKS", str(ROOT / "playbooks"))
    key, clock = make_key(), TestClock()

    def make_ansible(targets: Sequence[SshTarget], _: FakePlaybook) -> Ansible:
        secrets = BuildSecrets(uid="u1", seed=b"s" * 32, login_key=key)
        return AnsibleRunner(directory, write_ssh_files(directory / "ssh", targets, secrets), "oxygen1", clock)

    # pytest's own folders have names too long for the sockets of ssh.
    with (
        tempfile.TemporaryDirectory() as name,
        run_sshd(Path(name, "sshd"), make_key(), key.public, home=Path(name)) as sshd,
    ):
        directory, management = Path(name), sshd.target("oxygen1")
        targets = [management, sshd.target("oxygen2", jump=management)]
        yield Real(Setup(directory, clock, make_ansible, targets), sshd)


@pytest.fixture(params=["fake", "real"])
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Setup:
    if request.param == "real":
        real: Real = request.getfixturevalue("real")
        return real.setup
    clock = TestClock()
    targets = [SshTarget(name, "127.0.0.1", make_key().public) for name in ("oxygen1", "oxygen2")]
    return Setup(tmp_path, clock, lambda _, goes: FakeAnsible({"some.yml": goes}, clock), targets)


def shell(name: str, command: str, **more: object) -> dict[str, object]:
    return {"name": name, "ansible.builtin.shell": command, **more}


def test_a_playbook_succeeds_on_a_host_and_on_one_behind_it(setup: Setup) -> None:
    told: list[str] = []
    tasks = [shell("Say something", "echo $SSH_CONNECTION"), shell("Say more", "true")]
    goes = FakePlaybook({"Say something": 0, "Say more": 0})
    assert setup.run(tasks, goes, told.append) == PlaybookOutcome({"oxygen1": OK, "oxygen2": OK})
    assert told == ["Say something", "Say more"]


def test_a_failing_host_is_told_apart_with_its_task_and_message(setup: Setup) -> None:
    told: list[str] = []
    tasks = [
        shell("Break", "echo it is broken >&2; exit 4", when="inventory_hostname == 'oxygen2'"),
        shell("Go on", "true"),
    ]
    broken = HostOutcome(HostState.FAILED, "Break: non-zero return code: it is broken")
    goes = FakePlaybook({"Break": 0, "Go on": 0}, {"oxygen2": broken})
    outcome = setup.run(tasks, goes, told.append)
    assert outcome == PlaybookOutcome({"oxygen1": OK, "oxygen2": broken})
    assert outcome.failed() == {"oxygen2": broken}
    assert told == ["Break", "Go on"]


def test_a_failure_that_the_playbook_deals_with_is_none(setup: Setup) -> None:
    rescued: dict[str, object] = {"name": "Try", "block": [shell("Break", "exit 4")], "rescue": [shell("Mend", "true")]}
    tasks = [shell("Try in vain", "false", ignore_errors=True), rescued]
    goes = FakePlaybook({"Try in vain": 0, "Break": 0, "Mend": 0})
    assert setup.run(tasks, goes) == PlaybookOutcome({"oxygen1": OK, "oxygen2": OK})


def test_a_host_that_no_play_comes_to_has_no_outcome(setup: Setup) -> None:
    goes = FakePlaybook({"Say something": 0}, passed_by=["oxygen1"])
    assert setup.run([shell("Say something", "true")], goes, hosts="compute") == PlaybookOutcome({"oxygen2": OK})


def test_a_host_that_does_not_answer_is_unreachable_and_the_others_go_on(setup: Setup) -> None:
    silent = SshTarget("oxygen3", "127.0.0.1", make_key().public, find_free_port())
    gone = HostOutcome(HostState.UNREACHABLE, "Say something: connect to host 127.0.0.1: Connection refused")
    outcome = setup.run([shell("Say something", "true")], FakePlaybook(failed={"oxygen3": gone}), stranger=silent)
    assert {host: found.state for host, found in outcome.hosts.items()} == {
        "oxygen1": HostState.OK,
        "oxygen2": HostState.OK,
        "oxygen3": HostState.UNREACHABLE,
    }
    assert re.fullmatch(r"Say something: .*: Connection refused", outcome.hosts["oxygen3"].message)
    assert set(outcome.failed()) == {"oxygen3"}


def test_a_playbook_that_takes_too_long_is_stopped(setup: Setup) -> None:
    goes = FakePlaybook({"Sleep": 30, "Wake up": 0})
    with pytest.raises(Retry, match=r"some\.yml didn't end within 10 s: Sleep") as caught:
        setup.run([shell("Sleep", "sleep 30"), shell("Wake up", "true")], goes, timeout_seconds=10)
    assert caught.value.reason == "PlaybookTimeout"


def test_a_pod_that_is_stopped_stops_its_playbook(setup: Setup) -> None:
    told: list[str] = []

    def stop(task: str) -> None:
        told.append(task)
        setup.clock.stopping = task == "Sleep"

    with pytest.raises(Terminated):
        setup.run([shell("Sleep", "sleep 8"), shell("Wake up", "true")], FakePlaybook({"Sleep": 8, "Wake up": 0}), stop)
    assert told == ["Sleep"]


def test_a_playbook_that_ansible_cannot_read_says_so(setup: Setup) -> None:
    told: list[str] = []
    goes = FakePlaybook(broken="couldn't resolve module/action 'no.such.module'")
    with pytest.raises(
        Retry, match=r"(?s)^PlaybookBroken: some\.yml ended with exit code 4: .*no\.such\.module"
    ) as caught:
        setup.run([{"name": "Break", "no.such.module": {}}], goes, told.append)
    assert caught.value.reason == "PlaybookBroken"
    assert told == []


def test_a_playbook_that_is_not_there_is_named(setup: Setup) -> None:
    missing = PlaybookRun(setup.directory / "missing.yml", {}, 1, 60)
    with pytest.raises(Invalid, match=r"there is no playbook missing\.yml") as caught:
        setup.make_ansible([], FakePlaybook()).run(missing, ignore)
    assert caught.value.reason == "PlaybookMissing"


def test_a_host_with_another_key_is_refused(real: Real) -> None:
    sshd = real.sshd
    stranger = SshTarget("oxygen3", "127.0.0.1", make_key().public, sshd.port, sshd.target().user)
    outcome = real.setup.run([shell("Say something", "true")], FakePlaybook(), stranger=stranger)
    assert outcome.hosts["oxygen3"].state is HostState.UNREACHABLE
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in outcome.hosts["oxygen3"].message


def test_a_secret_file_is_there_for_the_playbook_in_no_command_line_and_gone_afterwards(real: Real) -> None:
    directory = real.setup.directory
    seen = directory / "seen"
    tasks: list[dict[str, object]] = [
        {"name": "Give", "ansible.builtin.copy": {"src": "{{ munge_key_file }}", "dest": str(seen)}, "no_log": True},
        shell("Look at command lines", f"cat /proc/[0-9]*/cmdline > {directory}/processes 2>/dev/null || true"),
        shell("Look at the file", f"stat -c %a {directory}/ansible/some/munge_key_file > {directory}/mode"),
    ]
    assert not real.setup.run(tasks, FakePlaybook()).failed()
    assert seen.read_bytes() == SECRET
    assert (directory / "mode").read_text().strip() == "600"
    command_lines = (directory / "processes").read_bytes()
    assert b"secrets.json" in command_lines
    assert SECRET not in command_lines
    assert not (directory / "ansible" / "some").exists()


def test_no_text_of_the_inventory_is_a_template_wherever_it_stands_and_all_arrive_as_they_are(real: Real) -> None:
    directory = real.setup.directory
    run = f"{{{{ lookup('pipe', 'touch {directory}/executed') }}}}"
    value = {
        "lookup": run,
        "statement": f"{{% if lookup('pipe', 'touch {directory}/executed') %}}x{{% endif %}}",
        "url": f"http://h/{run}/image.tar.gz",
        "list": [[run], {"deep": {"deeper": [run, "{{ 1 + 1 }}"]}}],
        run: {"{{ 2 + 2 }}": "key"},
        "unsafe": "!unsafe {{ 3 }}",
        "__ansible_unsafe": "{{ 4 }}",
        "odd": [
            "{#",
            "}}",
            "{{",
            "true",
            "010",
            "null",
            "",
            "~",
            "1e3",
            "2026-01-01",
            "a: b\n- c\t",
            "é\u2028",
            "=",
            "<<",
        ],
        "others": [True, None, 7, 1.5, [], {}],
    }
    (directory / "seen.j2").write_text("{{ value | to_json }}")
    tasks: list[dict[str, object]] = [
        {"name": "Write", "ansible.builtin.copy": {"content": "{{ value | to_json }}", "dest": f"{directory}/copied"}},
        {
            "name": "Render",
            "ansible.builtin.template": {"src": f"{directory}/seen.j2", "dest": f"{directory}/rendered"},
        },
        {
            "name": "Take on",
            "ansible.builtin.set_fact": {"taken": "{{ everywhere.value.url }} {{ value.lookup | trim }}"},
        },
        {"name": "Tell", "ansible.builtin.copy": {"content": "{{ taken }}", "dest": f"{directory}/told"}},
        {"name": "{{ value.lookup }}", "ansible.builtin.debug": {"msg": "{{ item }}"}, "loop": "{{ value.list[0] }}"},
        {
            "name": "Run",
            "ansible.builtin.command": {
                "argv": ["test", "{{ value.lookup }}", "=", run.replace("{{", "{{ '{{' }}", 1)]
            },
        },
        {"name": "Decide", "ansible.builtin.debug": {"msg": "x"}, "when": "value.lookup == 'x'"},
    ]
    outcome = real.setup.run(tasks, FakePlaybook(), variables={"value": value}, hosts="management")
    assert not outcome.failed(), outcome
    assert json.loads((directory / "copied").read_text()) == value
    assert json.loads((directory / "rendered").read_text()) == value
    assert (directory / "told").read_text() == f"{value['url']} {run}"
    assert not (directory / "executed").exists()


def test_a_shell_that_greets_spoils_no_playbook(real: Real) -> None:
    directory = real.setup.directory
    (directory / ".bashrc").write_text("echo Welcome to oxygen1; echo Oh >&2; printf 'and more'\n")
    tasks: list[dict[str, object]] = [
        {"name": "Copy", "ansible.builtin.copy": {"content": "text", "dest": f"{directory}/copied"}},
        {"name": "Run", "ansible.builtin.command": "echo hi", "register": "run"},
        {"name": "Compare", "ansible.builtin.assert": {"that": "run.stdout == 'hi'"}},
    ]
    assert not real.setup.run(tasks, FakePlaybook()).failed()
    assert (directory / "copied").read_text() == "text"


def test_what_daemons_say_is_asked_of_a_host_that_failed_and_joins_its_message(
    real: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Path(os.environ["BESSEMER_PLAYBOOKS"])
    shutil.copytree(ours, tmp_path / "playbooks")
    script = tmp_path / "playbooks/files/daemon_logs.sh"
    script.write_text("#!/bin/sh\nprintf 'slurmctld does not run, its log says: fatal:\\033[1m MISMATCH\\n'\n")
    monkeypatch.setenv("BESSEMER_PLAYBOOKS", str(tmp_path / "playbooks"))
    setup = real.setup
    playbook = setup.directory / "some.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [shell("Wait", "exit 1")]}]))
    inventory: dict[str, object] = {"all": {"hosts": {"oxygen1": {}}}}
    run, ansible = PlaybookRun(playbook, inventory, 1, 60), setup.make_ansible(setup.targets, FakePlaybook())
    outcome = tell_daemons(ansible, run, ansible.run(run, ignore))
    said = "Wait: non-zero return code; slurmctld does not run, its log says: fatal: MISMATCH"
    assert outcome == PlaybookOutcome({"oxygen1": HostOutcome(HostState.FAILED, said)})

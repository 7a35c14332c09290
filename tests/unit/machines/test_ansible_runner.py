"""What ansible-runner is told, and what its end means; Ansible itself is in the contract tests."""

from __future__ import annotations

import io
import json
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner
import pytest

from bessemer.errors import Invalid, Retry
from bessemer.machines.ansible import (
    AnsibleRunner,
    HostOutcome,
    HostState,
    PlaybookOutcome,
    PlaybookRun,
    build_failure_message,
)
from bessemer.machines.ansible_events import PlaybookEvents
from bessemer.machines.clock import Terminated
from bessemer.machines.ssh_files import SshFiles
from tests.unit.phases.cluster_fakes import VirtualClock

STATS = {"event": "playbook_on_stats", "event_data": {"processed": {"oxygen1": 1}, "dark": {"oxygen2": 1}}}


@dataclass
class Runner:
    """Stands for ansible-runner: keeps what it was told, and ends as it is told."""

    status: str = "successful"
    events: list[dict[str, Any]] = field(default_factory=lambda: [STATS])
    rc: int | None = 0
    told: dict[str, Any] = field(default_factory=dict)
    look: Callable[[dict[str, Any]], None] = lambda _: None

    @property
    def stdout(self) -> io.StringIO:
        return io.StringIO("ERROR! no such role\n")

    def run(self, **told: Any) -> Runner:
        self.told = told
        self.look(told)
        for event in self.events:
            told["event_handler"](event)
        return self


def connect_at_once(*_: object, **__: object) -> None:
    """Stands for ssh to the machine that others are reached through."""


def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runner: Runner,
    hosts: int = 3,
    clock: VirtualClock | None = None,
    connect: Callable[..., None] = connect_at_once,
) -> PlaybookOutcome:
    playbook = tmp_path / "some.yml"
    playbook.touch()
    files = SshFiles(tmp_path / "ssh_config", tmp_path / "known_hosts", tmp_path / "key")
    monkeypatch.setattr(ansible_runner, "run", runner.run)
    monkeypatch.setattr(subprocess, "run", connect)
    monkeypatch.setenv("BESSEMER_PLAYBOOKS", "/playbooks")
    request = PlaybookRun(playbook, {"all": {}}, hosts, 60.9, {"munge_key_file": b"hidden"}, [tmp_path / "roles"])
    return AnsibleRunner(tmp_path, files, "oxygen1", clock or VirtualClock()).run(request, lambda _: None)


def test_host_keys_are_checked_with_our_files_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner()
    run(tmp_path, monkeypatch, runner)
    environment = runner.told["envvars"]
    assert environment["ANSIBLE_HOST_KEY_CHECKING"] == "True"
    assert environment["ANSIBLE_SSH_ARGS"].startswith(f"-F {tmp_path}/ansible_ssh_config ")
    assert f"Include {tmp_path}/ssh_config" in (tmp_path / "ansible_ssh_config").read_text()
    assert environment["ANSIBLE_REMOTE_USER"] == "root", "so that become needs no sudo"
    assert environment["ANSIBLE_ROLES_PATH"] == f"/playbooks/roles:{tmp_path}/roles"


def test_no_connection_is_shared_between_host_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner()
    run(tmp_path, monkeypatch, runner)
    assert runner.told["envvars"]["ANSIBLE_SSH_ARGS"].endswith("/cp/%k")


def test_secrets_are_files_for_us_alone_and_gone_when_ansible_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = {}

    def look(told: dict[str, Any]) -> None:
        for file in (Path(told["private_data_dir"]) / name for name in ("secrets.json", "munge_key_file")):
            modes[file.name] = stat.S_IMODE(file.stat().st_mode)

    runner = Runner(look=look)
    run(tmp_path, monkeypatch, runner)
    assert modes == {"secrets.json": 0o600, "munge_key_file": 0o600}
    assert "hidden" not in str(runner.told)
    assert not Path(runner.told["private_data_dir"]).exists()


@pytest.mark.parametrize(("hosts", "forks"), [(1, 1), (20, 20), (1000, 32)])
def test_forks_follow_the_hosts_within_the_memory_of_the_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: int, forks: int
) -> None:
    runner = Runner()
    run(tmp_path, monkeypatch, runner, hosts)
    assert runner.told["cmdline"].endswith(f"--forks {forks}")


def test_hosts_end_as_ansible_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(tmp_path, monkeypatch, Runner("failed", rc=4))
    assert {host: found.state for host, found in outcome.hosts.items()} == {
        "oxygen1": HostState.OK,
        "oxygen2": HostState.UNREACHABLE,
    }


def test_the_time_that_is_left_is_ansibles_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner("timeout")
    with pytest.raises(Retry) as caught:
        run(tmp_path, monkeypatch, runner)
    assert caught.value.reason == "PlaybookTimeout"
    assert runner.told["settings"]["job_timeout"] == 60


def test_an_end_without_a_recap_tells_what_ansible_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Retry, match="exit code 1: ERROR! no such role") as caught:
        run(tmp_path, monkeypatch, Runner("failed", [], rc=1))
    assert caught.value.reason == "PlaybookBroken"


@pytest.mark.parametrize(
    ("rc", "said"),
    [(None, "was killed"), (1, "exit code 1"), (2, "exit code 2"), (250, "exit code 250"), (255, "exit code 255")],
)
def test_a_recap_without_failures_is_none_where_ansible_came_to_no_proper_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rc: int | None, said: str
) -> None:
    recap = {"event": "playbook_on_stats", "event_data": {"processed": {"oxygen1": 1}}}
    with pytest.raises(Retry, match=f"some.yml .*{said}: ERROR! no such role") as caught:
        run(tmp_path, monkeypatch, Runner("failed", [recap], rc))
    assert caught.value.reason == "PlaybookBroken"


def test_what_ansible_runner_lets_out_breaks_the_playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_: dict[str, Any]) -> None:
        raise json.JSONDecodeError("Expecting value\x1b", "{", 1)

    with pytest.raises(Retry, match="ansible-runner failed: JSONDecodeError: Expecting value") as caught:
        run(tmp_path, monkeypatch, Runner(look=look))
    assert caught.value.reason == "PlaybookBroken"
    assert caught.value.message.isprintable()
    assert not (tmp_path / "ansible" / "some").exists()


def test_the_time_in_which_a_jump_did_not_answer_is_not_ansibles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, clock = Runner(), VirtualClock()

    def hang(*_: object, timeout: float, **__: object) -> None:
        clock.sleep(timeout)
        raise subprocess.TimeoutExpired("ssh", timeout)

    run(tmp_path, monkeypatch, runner, clock=clock, connect=hang)
    assert runner.told["settings"]["job_timeout"] == 30


def test_hosts_that_a_playbook_adds_by_odd_names_are_told_and_are_no_machines() -> None:
    failed = HostOutcome(HostState.FAILED, "no")
    events = PlaybookEvents(lambda _: None)
    names = ["oxygen2", "oxygen3\x1b[0m", "a b[", "n" * 300]
    events.handle({"event": "playbook_on_stats", "event_data": {"failures": dict.fromkeys(names, 1)}})
    assert events.failed[:3] == ("oxygen2", "'oxygen3'", "'a b['")
    message = build_failure_message(dict.fromkeys(events.failed, failed))
    assert message == f"oxygen2,'oxygen3','a b[','{'n' * 63}…': no"


def test_a_signal_to_the_pod_stops_ansible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, clock = Runner("canceled"), VirtualClock()
    with pytest.raises(Terminated):
        run(tmp_path, monkeypatch, runner, clock=clock)
    assert not runner.told["cancel_callback"]()
    clock.stop_at = 0
    assert runner.told["cancel_callback"]()


def test_an_unreachable_jump_is_ansibles_to_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no ssh")

    assert "oxygen1" in run(tmp_path, monkeypatch, Runner(), connect=refuse).hosts
    assert "oxygen1: no connection for jumps: OSError" in caplog.text


def test_a_missing_playbook_is_named(tmp_path: Path) -> None:
    files = SshFiles(tmp_path / "ssh_config", tmp_path / "known_hosts", tmp_path / "key")
    with pytest.raises(Invalid, match=r"missing\.yml"):
        AnsibleRunner(tmp_path, files, "oxygen1", VirtualClock()).run(
            PlaybookRun(tmp_path / "missing.yml", {}, 1, 60), lambda _: None
        )

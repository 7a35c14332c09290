"""Preflight: all that is wrong, at once; and its check of a host as a real process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bessemer.api.phase_contract import PhaseName
from bessemer.errors import Invalid
from bessemer.machines.netboot import host_check
from bessemer.machines.ssh import CommandResult, ShellUnusable
from bessemer.phases import preflight
from bessemer.phases.context import Directories
from bessemer.phases.preflight_checks import decide_spec_problems
from tests.fakes.ssh import FakeSshMachine
from tests.unit.phases.builders import HOST_KEY, SECRETS, FakeContext, build_input, build_spec


def make_context(change: Callable[[dict[str, Any]], object] = dict.copy, problems: str = "[]") -> FakeContext:
    spec = build_spec().model_dump(by_alias=True)
    change(spec)
    context = FakeContext(build_input(PhaseName.PREFLIGHT, build_spec().model_validate(spec)), [])
    context.fake_power.states = FakeContext(context.phase_input, [f"oxygen{n}" for n in range(1, 6)]).fake_power.states
    context.fake_ssh.machines["boot-host"] = FakeSshMachine(HOST_KEY, command=answer(problems))
    return context


def answer(problems: str, exit_code: int = 0) -> Callable[[str, bytes], CommandResult]:
    return lambda *_: CommandResult(exit_code, problems, "sh: python3: not found" if exit_code else "")


def run(context: FakeContext) -> tuple[bool, str, str, bool]:
    result = preflight.run(context.phase_input, context)
    return result.succeeded, result.reason, result.message, result.retryable


def test_a_good_site_passes() -> None:
    assert run(make_context()) == (True, "Succeeded", "all checks passed", False)


def test_all_that_is_wrong_is_listed_at_once() -> None:
    def change(spec: dict[str, Any]) -> None:
        compute = spec["compute"]
        compute["addresses"] = "10.141.0.[2-4]"
        compute["macs"] = ["52:54:00:77:00:01", "52:54:00:8d:00:03", "52:54:00:8D:00:03"]
        compute["minReady"] = "9"
        spec["management"]["host"] = "oxygen3"
        spec["verify"] = {"jobs": [{"name": "bad", "script": "#!/bin/sh", "expect": {"output": "("}}]}

    context = make_context(change, problems='["http://10.77.0.1/vmlinuz answers 404"]')
    succeeded, reason, message, retryable = run(context)
    assert (succeeded, reason, retryable) == (False, "PreflightFailed", False)
    for part in [
        "spec.compute.addresses has 3 entries for 4 names",
        "spec.compute.macs has 3 entries for 4 names",
        "host name used more than once: oxygen3",
        "MAC address used more than once: 52:54:00:77:00:01, 52:54:00:8d:00:03",
        "spec.compute.minReady",
        "expect.output is no regular expression",
        "spec.bootHost: http://10.77.0.1/vmlinuz answers 404",
    ]:
        assert part in message


@pytest.mark.parametrize(
    ("section", "fields", "reason", "part"),
    [
        ("management", {"host": "all"}, "ReservedHostName", "group of the Ansible inventory: all"),
        ("compute", {"hosts": "oxygen[2-4],login"}, "ReservedHostName", "group of the Ansible inventory: login"),
        ("management", {"clusterInterface": {"address": "10.141.0.0/16"}}, "InvalidAddress", "10.141.0.0/16 is no"),
    ],
)
def test_a_name_or_an_address_that_no_host_can_have_is_refused(
    section: str, fields: dict[str, Any], reason: str, part: str
) -> None:
    problems = decide_spec_problems(
        build_spec().model_validate(build_spec().model_dump(by_alias=True) | {section: _laid_over(section, fields)})
    )
    assert [(problem.reason, part in problem.message) for problem in problems] == [(reason, True)]


def _laid_over(section: str, fields: dict[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = build_spec().model_dump(by_alias=True)[section]
    return own | fields


def test_playbooks_roles_and_variables_that_cannot_be_used_are_listed_before_a_machine_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["compute"]["minReady"] = "9"
        spec["services"] = ["ours", "theirs", "nobodys"]
        spec["configuration"] = {
            "variables": {"ansible_host": "elsewhere"},
            "playbooks": {
                "repository": "https://git.example/site.git",
                "commit": "0" * 40,
                "management": "there.yml",
                "services": "not-there.yml",
            },
        }

    monkeypatch.setenv("BESSEMER_PLAYBOOKS", str(tmp_path / "shipped"))
    (tmp_path / "shipped/roles/ours").mkdir(parents=True)
    (tmp_path / "checkout/roles/theirs").mkdir(parents=True)
    (tmp_path / "checkout/there.yml").touch()
    context = make_context(change)
    context.directories = Directories(playbooks=tmp_path / "checkout")
    succeeded, _, message, retryable = run(context)
    assert (succeeded, retryable) == (False, False)
    assert "spec.configuration.playbooks.services: the repository has no file not-there.yml" in message
    assert "spec.services: neither Bessemer nor the repository has a role nobodys" in message
    assert message.count("spec.configuration.variables: ansible_host may not be set") == 1
    assert "spec.compute.minReady" in message
    assert "theirs" not in message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda spec: spec["compute"].update(hosts="oxygen[2-"), "InvalidHostlist"),
        (lambda spec: spec["compute"].update(addresses="10.141.0.[254-257]"), "InvalidAddress"),
        (lambda spec: spec["management"].update(address="10.141.0.2"), "DuplicateAddress"),
        (lambda spec: spec["management"]["clusterInterface"].update(address="10.141.0.2/16"), "DuplicateAddress"),
        (lambda spec: spec["management"]["clusterInterface"].update(address="10.142.0.1/16"), "AddressOutsideNetwork"),
        (lambda spec: spec["compute"].update(addresses="10.141.0.[0,2-4]"), "AddressOutsideNetwork"),
        (lambda spec: spec["compute"]["install"].update(initrds=["http://elsewhere/vmlinuz"]), "DuplicateFileName"),
        (lambda spec: spec["compute"]["install"].update(kernel="http://10.77.0.1/kernels/"), "InvalidFileName"),
        (
            lambda spec: spec.update(verify={"jobs": [{"name": "j", "script": "#!/bin/sh\n", "nodes": 5}]}),
            "InvalidNodeCount",
        ),
        (lambda spec: spec.update(verify={"jobs": [{"name": "j", "script": "echo"}]}), "InvalidJob"),
    ],
)
def test_a_spec_that_cannot_work_is_refused_for_good(change: Callable[[dict[str, Any]], None], reason: str) -> None:
    succeeded, found, _, retryable = run(make_context(change))
    assert (succeeded, found, retryable) == (False, reason, False)


def test_machines_that_power_control_does_not_know_are_named() -> None:
    context = make_context()
    del context.fake_power.states["oxygen4"]
    assert run(context) == (
        False,
        "UnknownToPowerControl",
        "spec.power.powerman: power control doesn't know oxygen4",
        False,
    )


def test_a_power_control_that_is_away_is_worth_another_try() -> None:
    context = make_context()
    context.fake_power.unreachable = True
    succeeded, reason, _, retryable = run(context)
    assert (succeeded, reason, retryable) == (False, "PowerControlUnreachable", True)


def test_unreadable_power_states_count_against_min_ready() -> None:
    context = make_context(lambda spec: spec["compute"].update(minReady="75%"))
    context.fake_power.dead = {"oxygen3"}
    succeeded, _, message, _ = run(context)
    assert (succeeded, message) == (
        True,
        "all checks passed; power control can't read the state of oxygen3: minReady allows it",
    )
    context.fake_power.dead = {"oxygen3", "oxygen4"}
    assert run(context)[1:3] == ("PowerStateUnknown", "power control can't read the state of oxygen[3-4]")
    context.fake_power.dead = {"oxygen1"}
    assert run(context)[1] == "PowerStateUnknown"


def test_a_silent_node_is_named_and_the_others_are_known() -> None:
    context = make_context(lambda spec: spec["compute"].update(minReady="75%"))
    context.fake_power.silent = {"oxygen3"}
    succeeded, _, message, _ = run(context)
    assert succeeded
    assert "can't read the state of oxygen3 (power control: no answer within 120 s): minReady allows it" in message
    context.fake_power.silent = {"oxygen1"}
    assert run(context)[:3] == (
        False,
        "PowerStateUnknown",
        "power control can't read the state of oxygen1 (power control: no answer within 120 s)",
    )


def test_a_boot_host_with_another_key_is_told() -> None:
    context = make_context()
    context.fake_ssh.machines["boot-host"].host_key = SECRETS.host_key("other").public
    succeeded, reason, message, retryable = run(context)
    assert (succeeded, reason, retryable) == (False, "HostKeyMismatch", True)
    assert message.startswith("spec.bootHost.ssh: ")
    assert message.count("SHA256:") == 2


def test_a_boot_host_without_python_is_told() -> None:
    context = make_context()
    context.fake_ssh.machines["boot-host"].command = answer("", exit_code=127)
    assert "spec.bootHost: python3 3.9 or newer is needed: sh: python3: not found" in run(context)[2]


@pytest.mark.parametrize(
    "answer_text", ["Welcome", "", "{}", "[1]", "[" * 5000, '["x"] bye', "[1e999]", "\x1b]0;x\x07"]
)
def test_an_answer_that_cannot_be_read_is_one_problem_of_the_boot_host(answer_text: str) -> None:
    context = make_context(lambda spec: spec["compute"].update(minReady="9"), problems=answer_text)
    _, reason, message, _ = run(context)
    assert reason == "PreflightFailed"
    assert "spec.compute.minReady" in message
    assert "spec.bootHost: the answer of its python3" in message
    assert message.isprintable()


def test_a_boot_host_whose_shell_runs_nothing_is_told_beside_the_rest() -> None:
    def refuse(*_: object) -> CommandResult:
        raise ShellUnusable("boot-host: its shell prints: Welcome to oxygen1")

    context = make_context()
    context.fake_ssh.machines["boot-host"].command = refuse
    assert run(context) == (
        False,
        "BootHostUnusable",
        "spec.bootHost.ssh: boot-host: its shell prints: Welcome to oxygen1",
        True,
    )


@pytest.mark.parametrize(
    "broken", ["decide_spec_problems", "list_configuration_problems", "list_power_problems", "list_boot_host_problems"]
)
def test_a_check_that_fails_unexpectedly_is_one_problem_and_hides_no_other(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RecursionError("deep")

    def change(spec: dict[str, Any]) -> None:
        spec["compute"]["macs"][1] = spec["compute"]["macs"][0]
        spec["services"] = ["nobodys"]

    monkeypatch.setattr(preflight, broken, fail)
    context = make_context(change, problems='["no file"]')
    context.fake_power.dead = {"oxygen1"}
    _, reason, message, _ = run(context)
    expected = {
        "decide_spec_problems": "MAC address used more than once",
        "list_configuration_problems": "spec.services",
        "list_power_problems": "power control can't read",
        "list_boot_host_problems": "spec.bootHost: no file",
    }
    assert reason == "PreflightFailed"
    assert "failed by a defect of Bessemer (RecursionError)" in message
    told = [name for name, part in expected.items() if part in message]
    assert told == [name for name in expected if name != broken]


def test_unreadable_secrets_are_told_beside_the_rest() -> None:
    class Unreadable(FakeContext):
        @property
        def secrets(self) -> Any:
            raise Invalid("SecretMissing", "Secret mine, key id: cannot be read")

    made = make_context(lambda spec: spec["compute"].update(minReady="9"))
    context = Unreadable(made.phase_input, [])
    context.fake_power.unreachable = True
    _, reason, message, retryable = run(context)
    assert (reason, retryable) == ("PreflightFailed", False)
    assert "minReady" in message
    assert "Secret mine" in message


def test_a_given_management_node_is_visited() -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["management"] |= {"provision": False, "ssh": {"address": "m.example", "hostKey": HOST_KEY}}

    context = make_context(change)
    succeeded, reason, message, _ = run(context)
    assert (succeeded, reason) == (False, "Unreachable")
    assert "spec.management.ssh: oxygen1" in message
    context.fake_ssh.machines["oxygen1"] = FakeSshMachine(HOST_KEY, command=answer("[]"))
    assert run(context)[0]


class Site(BaseHTTPRequestHandler):
    """A web server that has one file and forbids HEAD for another."""

    def do_HEAD(self) -> None:
        self.send_response({"/here": 200, "/no-head": 405}.get(self.path, 404))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_the_check_of_a_host_finds_what_is_missing(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        urls = [f"{url}/here", f"{url}/no-head", f"{url}/gone", "http://127.0.0.1:1/closed", f"{url}/\x01", f"{url}x/"]
        request = {
            "urls": urls,
            "directories": [str(tmp_path), str(tmp_path / "missing")],
            "made_directories": [str(tmp_path / "a/b")],
        }
        script = Path(host_check.__file__).read_bytes()
        done = subprocess.run([sys.executable, "-", json.dumps(request)], input=script, capture_output=True, check=True)
        server.shutdown()
    found = json.loads(done.stdout)
    assert found[0] == f"{url}/gone answers 404"
    assert found[1].startswith("http://127.0.0.1:1/closed does not answer")
    assert found[2].startswith(f"{url}/\x01 does not answer")
    assert found[3].startswith(f"{url}x/ does not answer")
    assert found[4:] == [f"{tmp_path}/missing is no directory"]


def test_what_is_looked_for_on_the_boot_host() -> None:
    asked: list[Any] = []

    def command(line: str, stdin: bytes) -> CommandResult:
        asked.append(json.loads(line.removeprefix("python3 - '").removesuffix("'")))
        assert b"def check_url" in stdin
        return CommandResult(0, "[]", "")

    context = make_context()
    context.fake_ssh.machines["boot-host"].command = command
    assert run(context)[0]
    assert asked == [
        {
            "urls": ["http://10.77.0.1/vmlinuz", "http://10.77.0.1/m.tar.gz", "http://10.77.0.1/c.tar.gz"],
            "directories": ["/srv/http/boot/"],
            "made_directories": ["/var/lib/bessemer"],
        }
    ]

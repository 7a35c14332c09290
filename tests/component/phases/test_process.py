"""The process of a phase pod: whatever happens becomes a result; progress is told and never in the way."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bessemer.api.phase_contract import PhaseName, PhaseResult, Progress
from bessemer.errors import Invalid, Retry
from bessemer.machines.clock import SystemClock, Terminated
from bessemer.machines.machine import build_management_target
from bessemer.machines.netboot.ssh_server import SshBootServer
from bessemer.machines.power.powerman import Powerman
from bessemer.machines.ssh import ParamikoSsh
from bessemer.phases import __main__ as process
from bessemer.phases import progress as progress_module
from bessemer.phases.boot_endpoints import build_boot_host_endpoint, build_management_endpoint
from bessemer.phases.context import Directories, PhaseContext
from bessemer.phases.progress import HttpProgress, NoProgress
from tests.unit.machines.test_machine import make_openssh_key
from tests.unit.phases.builders import build_input, build_spec


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    made = Directories(
        tmp_path / "input", tmp_path / "secret", tmp_path / "ssh", tmp_path / "books", tmp_path / "scratch"
    )
    made.input.mkdir()
    made.secret.mkdir()
    (made.input / "input.json").write_text(build_input(PhaseName.CLEANUP).model_dump_json(by_alias=True))
    (made.secret / "seed").write_bytes(base64.b64encode(b"s" * 32))
    (made.secret / "ssh-privatekey").write_bytes(make_openssh_key())
    return made


def run(directories: Directories, monkeypatch: pytest.MonkeyPatch, phase: Any, name: str = "Cleanup") -> PhaseResult:
    """Run a phase whose module is replaced by a function."""
    monkeypatch.setattr(importlib, "import_module", lambda _: SimpleNamespace(run=phase))
    return process.run_phase(name, directories, SystemClock())


def raise_error(error: Exception) -> Any:
    def phase(*_: Any) -> PhaseResult:
        raise error

    return phase


def test_a_result_is_passed_on(directories: Directories, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = PhaseResult(succeeded=True, reason="Succeeded")
    assert run(directories, monkeypatch, lambda *_: expected) == expected


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        (Invalid("Bad", "spec.x is bad"), "Bad", False),
        (Retry("Away", "it is away"), "Away", True),
        (Terminated(), "Terminated", True),
        (ZeroDivisionError("division by zero"), "InternalError", True),
    ],
)
def test_the_class_of_an_error_says_whether_to_try_again(
    directories: Directories,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    reason: str,
    retryable: bool,
) -> None:
    result = run(directories, monkeypatch, raise_error(error))
    assert (result.succeeded, result.reason, result.retryable) == (False, reason, retryable)
    assert ("Traceback" in caplog.text) == (reason == "InternalError")
    assert "Traceback" not in result.message


def test_input_for_another_phase_or_none_is_invalid(directories: Directories, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(directories, monkeypatch, raise_error(AssertionError()), name="Verify")
    assert (result.reason, result.retryable) == ("InvalidInput", False)
    (directories.input / "input.json").write_text("{}")
    assert run(directories, monkeypatch, raise_error(AssertionError())).reason == "InvalidInput"


def test_an_input_that_another_put_in_its_place_is_not_followed(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = directories.input / "input.json"
    monkeypatch.setenv("BESSEMER_INPUT_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    assert run(directories, monkeypatch, raise_error(Retry("Reached", ""))).reason == "Reached"
    for content in (file.read_bytes().replace(b"oxygen", b"sulfur"), file.read_bytes() + b"\n", b"", b"{}"):
        file.write_bytes(content)
        result = run(directories, monkeypatch, raise_error(AssertionError()))
        assert (result.reason, result.retryable) == ("InputReplaced", True)


def test_the_command_writes_the_termination_message(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    environment = {**os.environ, "BESSEMER_TERMINATION_LOG": str(log), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "bessemer.phases"]
    done = subprocess.run([*command, "Cleanup"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(log.read_text())["reason"] == "InvalidInput"
    wrong = subprocess.run([*command, "Nothing"], env=environment, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "PHASE is one of Preflight, BootManagement" in wrong.stderr


STUCK = """
import sys
from bessemer.phases import __main__ as program

def wait(phase, directories, clock):
    print("running", flush=True)
    try:
        clock.sleep(60)
    except program.Terminated as error:
        return program.build_failure(error)

program.run_phase = wait
sys.exit(program.main(["Cleanup"]))
"""


def test_a_phase_that_is_told_to_stop_says_so_by_its_exit_code_too(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    environment = {**os.environ, "BESSEMER_TERMINATION_LOG": str(log), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", STUCK], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.terminate()
        assert process.wait(30) == 143
    assert json.loads(log.read_text())["reason"] == "Terminated"


def test_preflight_tells_a_missing_login_key_with_all_else(directories: Directories) -> None:
    spec = build_spec(
        verify={"jobs": [{"name": "wide", "script": "#!/bin/sh", "nodes": 99}]},
        power={"powerman": {"address": "127.0.0.1", "port": 1}},
        ssh={"privateKeySecret": {"name": "mine"}},
    )
    phase_input = build_input(PhaseName.PREFLIGHT, spec, progress_url="http://127.0.0.1:1/progress")
    (directories.input / "input.json").write_text(phase_input.model_dump_json(by_alias=True))
    result = process.run_phase("Preflight", directories, SystemClock())
    assert (result.reason, result.retryable) == ("PreflightFailed", False)
    assert "spec.ssh.privateKeySecret: Secret mine, key ssh-privatekey: it does not exist" in result.message
    assert "spec.power.powerman: " in result.message
    assert "spec.verify.jobs, wide: nodes: 99" in result.message


def test_every_phase_has_its_module() -> None:
    for module in process.MODULES.values():
        assert callable(importlib.import_module(f"bessemer.phases.{module}").run)
    assert set(process.MODULES) == set(PhaseName)


def test_a_signal_ends_every_wait() -> None:
    clock, told = SystemClock(), []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        clock.stop_on_signals(lambda: told.append("told"))
        clock.sleep(0)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Terminated):
            clock.sleep(60)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert told == ["told"]
    assert clock.now() <= clock.now()


def test_the_clients_are_made_from_the_input(directories: Directories) -> None:
    phase_input = build_input(PhaseName.CLEANUP, progress_url="http://127.0.0.1:1/progress")
    context = PhaseContext(phase_input, directories)
    assert isinstance(context.power, Powerman)
    assert isinstance(context.ssh, ParamikoSsh)
    assert isinstance(context.progress, HttpProgress)
    assert context.pool.submit(lambda: 1).result() == 1
    assert isinstance(context.boot_server(build_boot_host_endpoint(phase_input.spec)), SshBootServer)
    context.close()
    quiet = PhaseContext(build_input(PhaseName.CLEANUP), directories)
    assert isinstance(quiet.progress, NoProgress)
    quiet.close()


def test_endpoints_of_both_boot_servers() -> None:
    spec = build_spec()
    given_host = build_boot_host_endpoint(spec)
    assert (given_host.target.address, given_host.address, given_host.port) == ("boot.example", "10.77.0.1", 8099)
    own = build_management_endpoint(spec, build_management_target(spec, "ssh-ed25519 AAAA"))
    assert (own.target.address, own.address, own.service_daemon) == (
        "10.77.0.10",
        "10.141.0.1",
        "/usr/local/lib/bessemer/bootd.py",
    )
    with pytest.raises(Invalid, match="bootHost"):
        build_boot_host_endpoint(spec.model_copy(update={"boot_host": None}))


class OperatorServer(ThreadingHTTPServer):
    """Keeps what is posted: authorization and body."""

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[int] = []
        """Status codes of the next answers; after them it is 204."""


class Operator(BaseHTTPRequestHandler):
    """Takes progress."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, OperatorServer)
        self.server.posts.append((self.headers["Authorization"], body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def operator() -> Iterator[OperatorServer]:
    with OperatorServer(("127.0.0.1", 0), Operator) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def open_progress(operator: OperatorServer) -> HttpProgress:
    return HttpProgress(f"http://127.0.0.1:{operator.server_address[1]}/progress", "t0ken")


@pytest.mark.parametrize(("answers", "posts"), [([503, 503], 3), ([401], 1)])
def test_progress_that_may_be_taken_later_is_sent_again(
    operator: OperatorServer, monkeypatch: pytest.MonkeyPatch, answers: list[int], posts: int
) -> None:
    monkeypatch.setattr(progress_module, "THROTTLE_SECONDS", 0.01)
    operator.answers = list(answers)
    progress = open_progress(operator)
    progress.post(Progress(message="step"))
    deadline = time.monotonic() + 10
    while len(operator.posts) < posts and time.monotonic() < deadline:
        time.sleep(0.01)
    progress.close()
    assert [body["message"] for _, body in operator.posts] == ["step"] * posts
    assert operator.answers == []


def test_the_latest_progress_is_posted_with_the_token(operator: OperatorServer) -> None:
    posts, progress = operator.posts, open_progress(operator)
    for done in range(50):
        progress.post(Progress(message="step", done=done, total=49))
    progress.close()
    assert 1 <= len(posts) <= 3
    assert posts[-1] == ("Bearer t0ken", {"message": "step", "done": 49, "total": 49, "nodes": []})


def test_progress_that_no_client_reads_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    progress = HttpProgress("http://127.0.0.1:1/progress", None)
    progress.post(Progress(message="step"))
    progress.close()
    assert "progress was not taken" in caplog.text
    quiet = NoProgress()
    quiet.post(Progress(message="step"))
    quiet.close()

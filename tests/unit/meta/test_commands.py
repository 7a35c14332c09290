"""Every command in the documents is run by a test, is read by the program it is for, or has a reason why not.

kubectl and Helm read theirs in tests/contract/kube/test_documented_commands.py.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperCommand
from typer.testing import CliRunner

from bessemer.cli.app import app
from local_kubernetes.__main__ import application as local_kubernetes
from rack.__main__ import app as rack
from tests.bench.__main__ import main as bench
from tests.bench.runners.__main__ import main as bench_runners
from tests.support.checkout import ROOT
from tests.support.doccommands import Command, list_commands

COMMANDS = list_commands()
CLUSTER_TOOLS = {"helm", "kubectl"}
NOT_RUN = {
    "docker build": "needs a registry; tests/support/image.py builds the same Dockerfile for tests/e2e/conftest.py",
    "docker push": "needs a registry",
    "jq": "not ours; the fields it names are in tests/unit/cli/test_cli.py",
    "curl": "asks a simulator that runs; tools/gitlab-simulator/tests ask it the same",
    "git clone": "clones from a simulator that runs; tests/contract/gitlab/simulator does",
    "gitlab-simulator": "serves until it is stopped; tools/gitlab-simulator/tests start it",
    "eval": "sets variables of the user's shell",
    ".venv/bin/python -m pytest": "a test",
    "mmdebstrap": "takes minutes and a mirror; tools/rack/rack/image makes such a system for tests/e2e/test_build.py",
    "mksquashfs": "not ours; tools/rack/rack/image makes such an archive for tests/e2e/test_build.py",
    "gzip": "not ours",
    "ssh-keygen": "not ours",
    "ssh-copy-id": "needs a boot host",
}
"""What is not run, by the beginning of the command, and why."""


def as_program(function: Callable[..., None]) -> typer.Typer:
    """Make a program of a function, as ``typer.run`` does."""
    program = typer.Typer(add_completion=False)
    program.command()(function)
    return program


PROGRAMS = {
    "bessemer": app,
    "rack": rack,
    "local-kubernetes": local_kubernetes,
    "tests.bench": as_program(bench),
    "tests.bench.runners": as_program(bench_runners),
}


def find_program(command: Command) -> tuple[str, list[str]]:
    """Return the name of the program and its arguments, without variables, the path of .venv and ``python -m``."""
    words = [word for word in command.arguments if not re.match(r"[A-Z_]+=", word)]
    if words[:2] == [".venv/bin/python", "-m"] and words[2] in PROGRAMS:
        words = words[2:]
    return words[0].removeprefix(".venv/bin/") if words[0] != ".venv/bin/python" else words[0], words[1:]


def is_not_run(command: Command) -> bool:
    """Return whether there is a reason not to run a command."""
    program, arguments = find_program(command)
    return any(f"{' '.join([program, *arguments])} ".startswith(f"{beginning} ") for beginning in NOT_RUN)


def of(*programs: str) -> list[Command]:
    """List the commands of some programs."""
    return [command for command in COMMANDS if find_program(command)[0] in programs]


def test_every_command_is_run_or_read_or_has_a_reason() -> None:
    known = {*PROGRAMS, *CLUSTER_TOOLS, "make"}
    assert [str(one) for one in COMMANDS if find_program(one)[0] not in known and not is_not_run(one)] == []


def test_no_reason_is_left_of_a_command_that_is_gone() -> None:
    lines = [" ".join([program, *arguments]) + " " for program, arguments in map(find_program, COMMANDS)]
    assert [one for one in NOT_RUN if not any(line.startswith(f"{one} ") for line in lines)] == []
    named = {path for reason in NOT_RUN.values() for path in re.findall(r"\b(?:tests|tools)/[\w/.-]*\w", reason)}
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("command", of("make"), ids=str)
def test_make_has_the_target(command: Command) -> None:
    result = subprocess.run(["make", "-n", *command.arguments[1:]], cwd=ROOT, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.parametrize("command", of(*PROGRAMS), ids=str)
def test_programs_read_their_arguments(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(TyperCommand, "invoke", lambda *_: None)
    (tmp_path / "image.tar").touch()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    program, arguments = find_program(command)
    result = CliRunner().invoke(PROGRAMS[program], arguments)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", [one for one in of("bessemer") if one.arguments[1] == "plan"], ids=str)
def test_plans_are_printed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(app, list(command.arguments[1:]))
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(Path(command.arguments[-1]).read_text())["metadata"]["name"] in result.output


def test_a_wrong_option_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TyperCommand, "invoke", lambda *_: None)
    assert CliRunner().invoke(app, ["watch", "oxygen", "--no-such-option"]).exit_code == 2
    assert CliRunner().invoke(app, ["no-such-command"]).exit_code == 2

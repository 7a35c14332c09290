"""The command starts fast: what it does not need is not imported. Measured by modules, not by time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bessemer import registry
from bessemer.cli import app as cli

HEAVY = {"kubernetes", "kopf", "aiohttp", "paramiko", "ansible_runner", "pydantic", "pydantic_core", "rich", "asyncio"}
REPORT = """
import sys
sys.argv = ["bessemer", *sys.argv[1:]]
from bessemer.__main__ import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def run(*arguments: str) -> tuple[str, set[str]]:
    """Run the command; return what it prints, and the modules that it has imported."""
    done = subprocess.run([sys.executable, "-c", REPORT, *arguments], capture_output=True, text=True, check=True)
    return done.stdout, set(done.stderr.split())


def test_the_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    out, modules = run("--help")
    for name in ("plan", "status", "watch", "logs", "retry", "pause", "resume", "abort", "version", "run"):
        assert f"\n  {name} " in out
    assert "remove-traces" not in out
    assert modules & HEAVY == set()
    inner = {name for name in modules if name.startswith(("bessemer.kinds.", "bessemer.engine.", "bessemer.api."))}
    kinds = {f"{package}.{kind.singular}" for kind in registry.KINDS for package in ("bessemer.kinds", "bessemer.api")}
    light = {"bessemer.api.group", "bessemer.api.wellknown", "bessemer.engine.description"}
    light |= {f"{kind}.{module}" for kind in kinds for module in ("description", "names", "resource")}
    assert inner - kinds <= light


def test_the_help_of_a_command_needs_no_client_of_kubernetes_and_no_other_command() -> None:
    out, modules = run("watch", "--help")
    assert "--timeout" in out
    assert modules & (HEAVY - {"pydantic", "pydantic_core"}) == set()
    assert "bessemer.cli.commands.logs" not in modules


def test_a_version_without_a_cluster_needs_no_client_of_kubernetes() -> None:
    out, modules = run("version", "--client", "-o", "json")
    assert '"operators": null' in out
    assert modules & {"kubernetes", "kopf", "aiohttp", "paramiko"} == set()


def test_the_operator_imports_nothing_that_only_phases_or_users_need() -> None:
    told = "import sys, bessemer.process; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"paramiko", "ansible_runner", "celpy", "rich", "typer"} == set()


@pytest.mark.parametrize("name", [*cli._MODULES])
def test_each_command_has_a_help_whose_first_line_is_not_cut(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bessemer", name, "-h"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    out = capsys.readouterr().out
    assert exit_.value.code == 0
    assert out.startswith(f"Usage: bessemer {name} [OPTIONS]")
    assert max(len(line) for line in out.splitlines()) <= 80


def test_no_help_of_a_command_is_cut_in_the_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bessemer"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "..." not in "".join(capsys.readouterr()).partition("Commands:")[2]


def test_a_command_that_is_mistyped_is_suggested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bessemer", "wach", "oxygen"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 2
    assert "Did you mean 'watch'" in capsys.readouterr().err

"""The command: which subcommands there are, and what an error becomes.

A subcommand is a function in a module of :mod:`bessemer.cli.commands` that is imported when its name is used.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import shlex
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from bessemer.cli.target import ContextOption, KubeconfigOption, NamespaceOption
from bessemer.errors import BessemerError

ERROR = 2
"""Exit code of every error; 1 is for what a command found out, such as a build that failed."""
PROGRAM = "bessemer"
_MODULES = {
    "plan": "plan",
    "status": "status",
    "watch": "watch",
    "logs": "logs",
    "retry": "orders",
    "pause": "orders",
    "resume": "orders",
    "abort": "orders",
    "job": "job",
    "version": "version",
    "run": "run",
    "remove-traces": "uninstall",
}
"""Subcommands in the order of the help, and the modules that have them as functions, or as groups of functions."""
_HIDDEN = ("remove-traces",)
COMPLETE_VARIABLE = "_BESSEMER_COMPLETE"
_NO_FILES, _FILES = 4, 0
"""ShellCompDirectives. Source: https://github.com/spf13/cobra/blob/v1.10.1/completions.go"""


class LazyGroup(TyperGroup):
    """Subcommands that are imported one by one, when they are asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = dict.fromkeys(_MODULES)  # type: ignore[assignment]  # built by get_command

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | TyperGroup | None:  # type: ignore[override]  # the base's type is not public
        """Return a subcommand, None for an unknown name."""
        if self.commands.get(cmd_name) is None and cmd_name in _MODULES:
            self.commands[cmd_name] = _build_command(cmd_name)
        return super().get_command(ctx, cmd_name)  # type: ignore[return-value]  # see above


def _build_command(name: str) -> Any:
    module = importlib.import_module(f"bessemer.cli.commands.{_MODULES[name]}")
    found = getattr(module, name.replace("-", "_"))
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, hidden=name in _HIDDEN)(found)
    return typer.main.get_command(single)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,  # loads rich, for a frame
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def describe(
    namespace: NamespaceOption = None, context: ContextOption = None, kubeconfig: KubeconfigOption = None
) -> None:
    """Bare metal to a verified Slurm cluster, and GitLab runners on pods.

    Exit codes: 0 done, 1 what was asked for has failed (see watch), 2 an error, with one line on stderr.
    """


def main() -> None:
    """Run the command; an error becomes one line on stderr and an exit code."""
    try:
        app(prog_name=PROGRAM)
    except BessemerError as error:
        _fail(error.message)
    except OSError as error:  # of the output: reading and connecting raise our own errors
        _fail(str(error.strerror or error))


def complete_for_kubectl() -> None:
    """Complete the words after ``kubectl bessemer``, as kubectl asks its plugins for it.

    Source: https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/ (``kubectl_complete-``)
    """
    *words, last = sys.argv[1:] or [""]
    os.environ |= {
        COMPLETE_VARIABLE: "complete_fish",  # the same lines: a value, a tab, what it is
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": f"{shlex.join([PROGRAM, *words])} {last}",
    }
    lines = io.StringIO()
    try:
        with contextlib.redirect_stdout(lines):
            app(prog_name=PROGRAM)
    finally:
        sys.stdout.write("".join(f"{line}\n" for line in lines.getvalue().splitlines() if line))
        sys.stdout.write(f":{_FILES if words[:1] == ['plan'] and not last.startswith('-') else _NO_FILES}\n")


def _fail(message: str) -> None:
    from bessemer.console.terminal import make_output  # noqa: PLC0415  nothing is printed for the most part

    sys.stderr.write(f"error: {make_output(message)}\n")
    sys.exit(ERROR)

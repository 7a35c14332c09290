"""The commands, their options, and how errors are shown: one line, no traceback."""

from __future__ import annotations

import asyncio
import logging
import sys

import typer

from bessemer.errors import BessemerError
from bessemer.process import run_operator
from bessemer.settings import get_settings

app = typer.Typer(help="Bare metal to a verified Slurm cluster.", no_args_is_help=True, add_completion=False)


@app.callback()
def _commands() -> None:
    """Bare metal to a verified Slurm cluster."""


@app.command()
def run() -> None:
    """Run the operator; settings come from the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stdout)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # else a line for every event
    raise typer.Exit(asyncio.run(run_operator(get_settings())))


def main() -> None:
    """Run the command; an error of ours becomes one line on stderr and exit code 2."""
    try:
        app(prog_name="bessemer")
    except BessemerError as error:
        sys.stderr.write(f"error: {error.message}\n")
        sys.exit(2)

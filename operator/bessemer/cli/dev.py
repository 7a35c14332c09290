"""What is for those who work on Bessemer, or try it: it comes with a checkout, not with the package."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

import bessemer
from bessemer.errors import Invalid

dev = typer.Typer(help="For a checkout of Bessemer: things to try it with.", no_args_is_help=True)
SIMULATOR = Path("tests", "support", "gitlab", "__main__.py")


@dev.command()
def gitlab(
    listen: Annotated[str, typer.Option(help="HOST:PORT.")] = "127.0.0.1:8929",
    external_url: Annotated[
        str | None, typer.Option(help="URL by which runners reach it; default: that of --listen.", show_default=False)
    ] = None,
    seed: Annotated[
        Path | None,
        typer.Option(
            help="YAML with what is there; default: a project and a token, which are told.", show_default=False
        ),
    ] = None,
    long_poll_seconds: Annotated[float, typer.Option(help="How long a runner's request is held.", min=0)] = 50,
) -> None:
    """Serve a GitLab simulator, with a page that lists jobs and has a button to run some."""
    checkout = Path(bessemer.__file__).parents[2]
    if not (checkout / SIMULATOR).is_file():
        raise Invalid("NoCheckout", "the simulator comes with a checkout of Bessemer: run this in its .venv")
    arguments = ["--listen", listen, "--long-poll-seconds", str(long_poll_seconds)]
    arguments += ["--external-url", external_url] if external_url else []
    arguments += ["--seed", str(seed.resolve())] if seed else ["--example"]
    os.chdir(checkout)
    os.execv(sys.executable, [sys.executable, "-m", "tests.support.gitlab", *arguments])  # noqa: S606  our own

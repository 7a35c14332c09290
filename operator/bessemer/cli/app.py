"""The commands and their options. What they do is in the modules beside this one."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from bessemer.api.phase_contract import PhaseName
from bessemer.cli.annotate import Order, patch_annotations
from bessemer.cli.logs import copy_logs
from bessemer.cli.session import Session, open_session
from bessemer.cli.terminal import make_output
from bessemer.cli.uninstall import delete_finalizers, delete_leases
from bessemer.cli.watch import watch_build
from bessemer.cli.watch_pool import watch_pool
from bessemer.engine.settings import get_settings
from bessemer.errors import BessemerError, Invalid
from bessemer.logformat import configure_logging
from bessemer.process import run_operator

USAGE_ERROR = 2

app = typer.Typer(
    help="Bare metal to a verified Slurm cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, typer.Argument(help="Name of the ClusterBuild.", show_default=False)]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace; default: that of the context.", show_default=False)
]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.", show_default=False)]


_WATCHED = {"": watch_build, "cb": watch_build, "rp": watch_pool}


@app.command()
def run() -> None:
    """Run the operator; settings come from the environment."""
    configure_logging("%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # else a line for every event
    raise typer.Exit(asyncio.run(run_operator(get_settings())))


@app.command()
def plan(file: Annotated[Path, typer.Argument(help="Manifest of a ClusterBuild or RunnerPool; - for stdin.")]) -> None:
    """Show what would be done to which machine, or how runners would be configured; touches nothing."""
    from bessemer.cli.plan import print_plan  # noqa: PLC0415  loads what the operator can do without

    print_plan(sys.stdin.read() if str(file) == "-" else _read(file))


@app.command()
def watch(
    name: Annotated[str, typer.Argument(help="Name of a ClusterBuild, or cb/NAME, or rp/NAME of a RunnerPool.")],
    namespace: Namespace = None,
    context: Context = None,
    timeout: Annotated[float, typer.Option(help="Seconds to watch at most; 0: for ever.", min=0)] = 0,
) -> None:
    """Follow a build to its end, or a pool until it is gone: one line for each change.

    Exit code for a build: 0 Ready, 1 failed or aborted, 2 gone or the time is up.

    Exit code for a pool: when the time is up 0 Ready, 1 not Ready; 2 gone.

    Errors, such as no object of this name, end with 2 as well.
    """
    kind, _, bare = name.rpartition("/")
    if kind not in _WATCHED:
        raise Invalid("InvalidName", f"{name}: cb/NAME or rp/NAME is wanted")

    async def work() -> int:
        async with open_session(context, namespace) as session:
            return await _WATCHED[kind](session, bare, timeout or None)

    raise typer.Exit(asyncio.run(work()))


@app.command()
def logs(
    name: Name,
    phase: Annotated[PhaseName | None, typer.Argument(help="Default: the latest phase.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the phase goes on.")] = False,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Show the log of a phase."""

    async def work() -> None:
        async with open_session(context, namespace) as session:
            await copy_logs(session, name, phase, sys.stdout, follow=follow)

    asyncio.run(work())


@app.command()
def retry(name: Name, namespace: Namespace = None, context: Context = None) -> None:
    """Try again what failed, with a new budget of attempts; ends an abort and a pause."""
    _order(Order.RETRY, name, namespace, context)


@app.command()
def pause(name: Name, namespace: Namespace = None, context: Context = None) -> None:
    """Start no new phase; the running one goes on."""
    _order(Order.PAUSE, name, namespace, context)


@app.command()
def resume(name: Name, namespace: Namespace = None, context: Context = None) -> None:
    """End a pause."""
    _order(Order.RESUME, name, namespace, context)


@app.command()
def abort(name: Name, namespace: Namespace = None, context: Context = None) -> None:
    """Stop the running phase, take back what was staged, and rest."""
    _order(Order.ABORT, name, namespace, context)


@app.command(hidden=True)
def remove_traces(
    namespace: Namespace = None,
    context: Context = None,
    watched: Annotated[str, typer.Option(help="The namespaces that it watched, with commas; all by default.")] = "",
) -> None:
    """Take finalizers and Leases away that only the operator of a namespace would; the chart's uninstall hook."""

    async def work() -> tuple[int, int]:
        async with open_session(context, namespace) as session:
            freed = await delete_finalizers(session.kubernetes, watched.split(","))
            return freed, await delete_leases(session.kubernetes, session.namespace)

    freed, released = asyncio.run(work())
    typer.echo(f"{freed} objects freed, {released} Leases of machines released")


def main() -> None:
    """Run the command; an error of ours becomes one line on stderr and exit code 2."""
    try:
        app(prog_name="bessemer")
    except BessemerError as error:
        sys.stderr.write(f"error: {make_output(error.message)}\n")
        sys.exit(USAGE_ERROR)


def _order(order: Order, name: str, namespace: str | None, context: str | None) -> None:
    async def work() -> Session:
        async with open_session(context, namespace) as session:
            await patch_annotations(session, name, order)
            return session

    session = asyncio.run(work())
    typer.echo(f"{session.namespace}/{name}: {order.value}")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file}: this is no text in UTF-8") from error

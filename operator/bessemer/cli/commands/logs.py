"""``bessemer logs``."""

from __future__ import annotations

from typing import Annotated

import typer

from bessemer.cli.options import BuildArgument, FormOption
from bessemer.cli.target import Target, on_cluster


def complete_phase(incomplete: str) -> list[str]:
    """List the phases that an argument may name."""
    from bessemer.api.phase_contract import PhaseName

    return [phase.value for phase in PhaseName if phase.value.lower().startswith(incomplete.lower())]


@on_cluster
def logs(
    target: Target,
    name: BuildArgument,
    phase: Annotated[
        str | None,
        typer.Argument(
            metavar="PHASE",
            help="Default: the phase that began last.",
            show_default=False,
            autocompletion=complete_phase,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the phase goes on.")] = False,
    list_: Annotated[bool, typer.Option("--list", "-l", help="List the phases that have a log.")] = False,
    output: FormOption = None,
) -> None:
    """Show the log of a phase.

    -o is for --list; a log is text.
    """
    import asyncio
    import sys

    from bessemer.cli.kinds import parse_build_name
    from bessemer.cli.logs import copy_logs, parse_phase, print_log_list
    from bessemer.cli.session import open_session

    if (list_ and (phase or follow)) or (output and not list_):
        raise typer.BadParameter("--list takes no phase and no --follow, and -o is for --list")
    build, chosen = parse_build_name(name), parse_phase(phase)

    async def work() -> None:
        async with open_session(target) as session:
            if list_:
                await print_log_list(session, build, output)
            else:
                await copy_logs(session, build, chosen, sys.stdout, follow=follow)

    asyncio.run(work())

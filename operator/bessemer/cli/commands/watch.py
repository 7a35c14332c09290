"""``bessemer watch``."""

from __future__ import annotations

from typing import Annotated

import typer

from bessemer.cli.kinds import explain_kinds, explain_names
from bessemer.cli.options import FormOption, complete_any
from bessemer.cli.target import Target, on_cluster


@on_cluster
@explain_kinds(lambda kind: f"Exit code for a {kind.name}: {kind.watch_help}.")
def watch(
    target: Target,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help=explain_names(),
            autocompletion=complete_any,
        ),
    ],
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="End after this time; 0: never.", min=0)] = 0,
    output: FormOption = None,
) -> None:
    """Follow a build to its end, or a pool.

    Live on a terminal; elsewhere one line for each change. Objects other than builds are followed until they are gone.

    Errors, such as no object of this name, end with exit code 2.
    """
    import asyncio

    from bessemer.cli.kinds import parse_name
    from bessemer.cli.session import open_session

    kind, bare = parse_name(name)

    async def work() -> int:
        async with open_session(target) as session:
            return await kind.get_view().watch(session, bare, timeout or None, output)

    raise typer.Exit(asyncio.run(work()))

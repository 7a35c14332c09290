"""``bessemer watch``."""

from __future__ import annotations

from typing import Annotated

import typer

from bessemer.cli.options import FormOption, complete_any
from bessemer.cli.target import Target, on_cluster


@on_cluster
def watch(
    target: Target,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="clusterbuild/NAME (cb/NAME) or runnerpool/NAME (rp/NAME); a bare NAME is a ClusterBuild.",
            autocompletion=complete_any,
        ),
    ],
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="End after this time; 0: never.", min=0)] = 0,
    output: FormOption = None,
) -> None:
    """Follow a build to its end, or a pool.

    Live on a terminal; elsewhere one line for each change. A pool is followed until it is gone.

    Exit code for a build: 0 Ready, 1 failed or aborted, 2 gone or the time is up.

    Exit code for a pool: when the time is up 0 Ready, 1 not Ready; 2 gone.

    Errors, such as no object of this name, end with 2 as well.
    """
    import asyncio

    from bessemer.cli.kinds import parse_name
    from bessemer.cli.session import open_session

    kind, bare = parse_name(name)

    async def work() -> int:
        async with open_session(target) as session:
            return await kind.watch(session, bare, timeout or None, output)

    raise typer.Exit(asyncio.run(work()))

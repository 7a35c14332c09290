"""``bessemer status``."""

from __future__ import annotations

from typing import Annotated

import typer

from bessemer.cli.kinds import explain_names
from bessemer.cli.options import FormOption, complete_any
from bessemer.cli.target import Target, on_cluster


@on_cluster
def status(
    target: Target,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help=f"{explain_names()} Default: a line for each object.",
            autocompletion=complete_any,
            show_default=False,
        ),
    ] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="List all namespaces.")] = False,
    output: FormOption = None,
) -> None:
    """Show how objects are.

    A line for each, or the whole picture of those that are named.

    With -o, objects as the API has them: one, or a List.
    """
    import asyncio

    from bessemer.cli.session import open_session
    from bessemer.cli.status import print_list, print_objects

    if names and all_namespaces:
        raise typer.BadParameter("names are of one namespace: leave out -A or the names")

    async def work() -> None:
        async with open_session(target) as session:
            if names:
                await print_objects(session, names, output)
            else:
                await print_list(session, output, all_namespaces=all_namespaces)

    asyncio.run(work())

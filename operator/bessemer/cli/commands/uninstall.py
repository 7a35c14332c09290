"""``bessemer remove-traces``."""

from __future__ import annotations

from typing import Annotated

import typer

from bessemer.cli.target import Target, on_cluster


@on_cluster
def remove_traces(
    target: Target,
    watched: Annotated[
        str, typer.Option(metavar="NAMES", help="The namespaces that it watched, with commas; all by default.")
    ] = "",
) -> None:
    """Take finalizers and Leases away that only the operator of a namespace would; the chart's uninstall hook."""
    import asyncio

    from bessemer.cli.session import open_session
    from bessemer.cli.uninstall import delete_finalizers, delete_leases

    async def work() -> tuple[int, int]:
        async with open_session(target) as session:
            freed = await delete_finalizers(session.kubernetes, watched.split(","))
            return freed, await delete_leases(session.kubernetes, session.namespace)

    freed, released = asyncio.run(work())
    typer.echo(f"{freed} objects freed, {released} Leases of machines released")

"""Arguments and options that several commands have. Nothing heavy is imported here."""

from __future__ import annotations

from typing import Annotated

import typer

from bessemer.cli.target import read_target
from bessemer.console.form import Form

FormOption = Annotated[
    Form | None, typer.Option("--output", "-o", help="Print JSON or YAML instead of text.", show_default=False)
]


def complete_build(ctx: typer.Context, incomplete: str) -> list[str]:
    """List the ClusterBuilds that an argument may name."""
    from bessemer.cli.completion import list_names

    return list_names(read_target(ctx), incomplete, ("clusterbuild",))


def complete_any(ctx: typer.Context, incomplete: str) -> list[str]:
    """List the objects of all kinds that an argument may name."""
    from bessemer import registry
    from bessemer.cli.completion import list_names

    return list_names(read_target(ctx), incomplete, [kind.singular for kind in registry.KINDS])


BuildArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A ClusterBuild: NAME or clusterbuild/NAME (cb/NAME).", autocompletion=complete_build
    ),
]

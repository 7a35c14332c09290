"""``bessemer version``."""

from __future__ import annotations

from typing import Annotated

import typer

from bessemer.cli.options import FormOption
from bessemer.cli.target import Target, on_cluster


@on_cluster
def version(
    target: Target,
    client: Annotated[bool, typer.Option("--client", help="Ask no cluster.")] = False,
    output: FormOption = None,
) -> None:
    """Show versions of command and operator.

    That of the operator where a cluster can be reached; exit code 0 also where it can't."""
    from bessemer.cli.version import print_version

    print_version(None if client else target, output)

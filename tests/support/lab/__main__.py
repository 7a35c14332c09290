"""The lab's commands: `python -m tests.support.lab COMMAND`."""

from __future__ import annotations

from typing import Annotated

import typer

from tests.support.lab import standalone as standalone_rack

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def commands() -> None:
    """Keep `standalone` a command of its own as long as it is the only one."""


@app.command()
def standalone(
    nodes: Annotated[int, typer.Option(help="compute nodes", min=0, max=64)] = 2,
    index: Annotated[int, typer.Option(help="number of this rack among those on this machine", min=1, max=250)] = 1,
    management_installed: Annotated[bool, typer.Option(help="start with an installed management machine")] = False,
) -> None:
    """Run a rack on this machine without Kubernetes until Ctrl-C."""
    standalone_rack.serve(nodes, management_installed=management_installed, index=index)


if __name__ == "__main__":
    app()

"""``bessemer plan``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bessemer.cli.kinds import explain_kinds
from bessemer.cli.options import FormOption


@explain_kinds(lambda kind: f"For a {kind.name}: {kind.manifest_help}.")
def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Manifest of one object; - for stdin.")],
    output: FormOption = None,
) -> None:
    """Show what a manifest would do.

    Reads the manifest only: nothing is changed, no cluster is needed. Exit code 2 for a manifest that is not valid.
    """
    from bessemer.cli.plan import print_plan

    print_plan(_read(file), output)


def _read(file: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file}: this is no text in UTF-8") from error

"""Write for people: what comes from objects, pods and manifests can neither steer a terminal nor be taken for markup.

On a terminal, tables wrap to its width; elsewhere nothing is wrapped or cut, and no line ends with blanks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from bessemer.foreign import make_line, make_text

UNBOUNDED = 1_000_000
"""Columns of what is no terminal."""


def make_console(file: TextIO | None = None) -> Console:
    """Return a console for a stream, by default standard output."""
    is_terminal = (file or sys.stdout).isatty()
    return Console(file=file, width=None if is_terminal else UNBOUNDED, highlight=False, emoji=False)


def build_cell(text: str, style: str = "") -> Text:
    """Return one line for a table or a view; it goes on in the next one where there is no room."""
    return Text(make_line(text, len(text)), style=style, overflow="fold")


def build_table(columns: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> Table:
    """Return a table as kubectl's: two blanks between columns, no lines."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(build_cell(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def print_view(console: Console, *parts: RenderableType) -> None:
    """Print tables and lines."""
    if console.is_terminal:
        console.print(*parts, sep="\n")
        return
    with console.capture() as captured:
        console.print(*parts, sep="\n")
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    console.file.flush()


def print_line(console: Console, text: str) -> None:
    """Print one line, however long, without colours and emoji."""
    console.print(Text(make_line(text, len(text))), soft_wrap=True, highlight=False)


def print_text(text: str) -> None:
    """Print a text of several lines to standard output."""
    sys.stdout.write(make_output(text))
    sys.stdout.flush()


def make_output(text: str) -> str:
    """Return a text of several lines for a stream that may be a terminal."""
    return make_text(text, len(text))

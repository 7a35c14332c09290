"""Write to a terminal: what comes from objects, pods and manifests can neither steer it nor be taken for markup."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from bessemer.foreign import make_line, make_text


def build_cell(text: str, style: str = "") -> Text:
    """Return one line for a table or a view, cut where there is no room."""
    return Text(make_line(text, len(text)), style=style, overflow="ellipsis")


def print_line(console: Console, text: str) -> None:
    """Print one line, however long, without colours and emoji."""
    console.print(Text(make_line(text, len(text))), soft_wrap=True, highlight=False)


def make_output(text: str) -> str:
    """Return a text of several lines for a stream that may be a terminal."""
    return make_text(text, len(text))

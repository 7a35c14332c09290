"""Draws ``docs/session/demo.svg`` from ``docs/session/demo.txt``, the record of a run of ``make demo``.

It shows the output after ``kubectl apply``, up to that of the Slurm job; of Ansible only the first task of each phase.
To record again: ``make demo | tee docs/session/demo.txt``, then ``make session``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import groupby

from rich.console import Console
from rich.text import Text

from tests.support.checkout import ROOT

RECORD = ROOT / "docs" / "session" / "demo.txt"
DRAWING = RECORD.with_suffix(".svg")
WIDTH = 92
FIRST_COMMAND = "$ kubectl apply"
TABLE = "┏━"
TASK = re.compile(r"[0-9:]{8} \w+: (?:configure_management|configure_services|settle_nodes): ")
STYLES = {
    r"^\$ .*": "bold bright_white",
    r"^[0-9:]{8}": "dim",
    r"\bSucceeded\b|\bCOMPLETED\b|\bReady after .*": "green",
    r"\bFailed\b": "red",
    r"^ {9}\.\.\. .*": "dim italic",
}
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
  <title>A run of make demo: from bare metal to a Slurm job on every node</title>
  <style>
    .{unique_id}-matrix {{
      font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace;
      font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
    }}
    .{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
    {styles}
  </style>
  <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
  </defs>
  {chrome}
  <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
  </g>
</svg>
"""
"""Rich's own format, without the font that it would fetch from the network."""


def select_lines(record: str) -> Iterator[str]:
    """Yield the lines that are drawn."""
    shown = record[record.index(FIRST_COMMAND) : record.index(TABLE)].rstrip().splitlines()
    shown[0] = re.sub(r" +\(.* after the start\)$", "", shown[0])
    for is_task, group in groupby(shown, lambda line: bool(TASK.match(line))):
        lines = list(group)
        if is_task and len(lines) > 2:
            lines = [lines[0], f"{' ' * 9}... {len(lines) - 1} more tasks of Ansible"]
        yield from lines


def draw(record: str) -> str:
    """Return the drawing as SVG."""
    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in select_lines(record):
        text = Text(line)
        for pattern, style in STYLES.items():
            text.highlight_regex(pattern, style)
        console.print(text, overflow="ellipsis", no_wrap=True)
    svg = console.export_svg(title="make demo", code_format=FORMAT, unique_id="session")
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines())


if __name__ == "__main__":
    DRAWING.write_text(draw(RECORD.read_text(encoding="utf-8")), encoding="utf-8")

"""What the person at the terminal is told."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Report on standard error what takes time."""
    print(f"rack: {text}", file=sys.stderr, flush=True)

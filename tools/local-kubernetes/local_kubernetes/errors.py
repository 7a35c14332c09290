"""The one error of this package, and the progress messages of its steps."""

import sys


class ClusterError(Exception):
    """A test cluster could not be made, used or removed; the message says which part and what would help."""


def announce(text: str) -> None:
    """Say on standard error what is going on: some steps take minutes."""
    print(f"cluster: {text}", file=sys.stderr, flush=True)

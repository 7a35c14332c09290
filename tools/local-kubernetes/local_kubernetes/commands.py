"""Runs other programs: with a deadline, and with their output in the error."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from local_kubernetes.errors import ClusterError

ERROR_LINES = 15
"""Number of output lines of a failed program in an error."""


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float = 60,
    stdin: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program and return its standard output.

    `environment` is added to ours. Raises ClusterError when the program is missing, ends with another code than 0, or
    is not done after `timeout` seconds.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
            check=True,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]}: no such program") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(words)}: not done after {timeout:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).decode(errors="replace")
        last = "\n".join(said.splitlines()[-ERROR_LINES:])
        raise ClusterError(f"{' '.join(words)}: ended with code {error.returncode}\n{last}") from error
    return done.stdout.decode(errors="replace")

"""An SSH client that leads to this very machine: commands are run by its shell, uploads are written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bessemer.machines.machine import SshTarget
from bessemer.machines.ssh import CommandResult

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
"""The first ``python3`` is this interpreter; without it, it may be a slow wrapper script such as pyenv's."""


class LocalSsh:
    """Runs everything here, whatever the target."""

    def __init__(self) -> None:
        self.uploads: list[str] = []

    def probe(self, target: SshTarget, timeout_seconds: float) -> None:
        pass

    def run(
        self,
        target: SshTarget,  # noqa: ARG002  it is always here
        command: str,
        stdin: bytes = b"",
        timeout_seconds: float = 60,
    ) -> CommandResult:
        done = subprocess.run(
            ["sh", "-c", command],
            input=stdin,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
            env={**os.environ, "PATH": PATH},
        )
        return CommandResult(done.returncode, done.stdout.decode(), done.stderr.decode())

    def upload(self, target: SshTarget, content: bytes, path: str, mode: int = 0o644) -> None:  # noqa: ARG002  it is always here
        self.uploads.append(path)
        Path(path).write_bytes(content)
        Path(path).chmod(mode)

    def close(self) -> None:
        pass

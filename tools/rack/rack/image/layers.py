"""The layers of the lab's image: the pod's root, what the boot host serves, and the rack's code with its files."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local_kubernetes.storage import locked
from rack.image import recipe, roots
from rack.image.recipe import (
    BOOT_HOST_FILES,
    COMPUTE_ROOT,
    DAEMON,
    MACHINE_FILES,
    MANAGEMENT_ROOT,
    RACK_ROOT,
)
from rack.terminal import say

CODE_FOLDER = "usr/lib/rack"
"""Where the rack's package lies in the image."""
TOOLS = {"mmdebstrap": "mmdebstrap", "mksquashfs": "squashfs-tools", "apt-ftparchive": "apt-utils", "pigz": "pigz"}
"""Programs that the build needs, and their Debian packages."""
SQUASHFS = ("-quiet", "-no-progress", "-comp", "zstd", "-Xcompression-level", "3", "-all-time", "0")


@dataclass(frozen=True)
class Layers:
    """What the image is put together from, the lowest first."""

    root: Path
    """Tar archive of the pod's root."""
    served: Path
    """Folder with the boot host's web and TFTP roots."""
    code: Path
    """Folder with the rack's code."""
    digest: str
    """Changes with any of them."""


def cache_directory() -> Path:
    """Return the folder for what is built, made if missing."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bessemer" / "lab"
    path.mkdir(parents=True, exist_ok=True)
    return path


def build_layers() -> Layers:
    """Build what isn't cached.

    Raises:
        subprocess.CalledProcessError: a tool failed; its output is above.

    """
    cache = cache_directory()
    with locked(cache / "lock"):
        install_tools()
        root = roots.build_root(RACK_ROOT, cache)
        served = build_served(cache)
        code = build_code(cache)
    return Layers(root, served, code, recipe.compute_digest(root.name, served.name, code.name))


def build_served(cache: Path) -> Path:
    """Make the folder of what the boot host serves: machines' images, kernel, packages, network boot program."""
    management, compute = roots.build_root(MANAGEMENT_ROOT, cache), roots.build_root(COMPUTE_ROOT, cache)
    mirror = roots.build_mirror(cache)
    folder = cache / f"served-{recipe.compute_digest(management.name, compute.name, mirror.name, SQUASHFS)}"
    if folder.exists():
        os.utime(folder)
        return folder
    say("packing the images that machines install (about 20 s)")
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    http, images = partial / "srv/http", partial / "srv/http/images"
    images.mkdir(parents=True)
    (http / "boot").mkdir()
    create_gzip(management, images / "management.tar.gz")
    create_gzip(compute, images / "compute.tar.gz")
    os.link(images / "management.tar.gz", images / "compute-bare.tar.gz")
    with compute.open("rb") as archive:
        target = str(images / "compute.squashfs")
        subprocess.run(
            ["nice", "mksquashfs", "-", target, "-tar", *SQUASHFS], stdin=archive, check=True, stdout=subprocess.DEVNULL
        )
    for name, place in (("debian", http), ("kernel", http), ("tftp", partial / "srv")):
        shutil.copytree(mirror / name, place / name)
    partial.rename(folder)
    return folder


def create_gzip(source: Path, target: Path) -> None:
    """Compress fast: the network is a memory copy, so size matters little."""
    with source.open("rb") as reading, target.open("wb") as writing:
        subprocess.run(["nice", "pigz", "-1", "-n", "-c"], stdin=reading, stdout=writing, check=True)


def build_code(cache: Path) -> Path:
    """Make the folder with the rack's code and the files of the pod's root."""
    files = [file for folder in (MACHINE_FILES, BOOT_HOST_FILES, DAEMON) for file in recipe.list_files(folder)]
    folder = cache / f"code-{recipe.compute_digest(files=files)}"
    if folder.exists():
        os.utime(folder)
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", ".gitkeep")
    for overlay in (MACHINE_FILES, BOOT_HOST_FILES):
        shutil.copytree(overlay, partial, ignore=ignore, dirs_exist_ok=True)
    package = partial / CODE_FOLDER / "rack"
    shutil.copytree(DAEMON, package / DAEMON.name, ignore=ignore)
    (package / "__init__.py").touch()
    program = partial / "usr/local/bin/rackctl"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH=/{CODE_FOLDER} exec python3 -m rack.daemon.rackctl "$@"\n')
    program.chmod(0o755)
    os.utime(partial)
    partial.rename(folder)
    return folder


def install_tools() -> None:
    """Install the Debian packages that the build needs, where missing."""
    missing = [package for program, package in TOOLS.items() if shutil.which(program) is None]
    if missing:
        say(f"installing {' '.join(missing)} with apt")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

"""Builds the lab's image as an archive that any cluster can import."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from local_kubernetes.oci import Image, ImageConfiguration, create_archive
from local_kubernetes.storage import locked
from rack.image.layers import CODE_FOLDER, build_layers, cache_directory
from rack.terminal import say

REPOSITORY = "localhost/bessemer-lab"
CONFIGURATION = ImageConfiguration(
    entrypoint=("/usr/bin/tini", "--", "python3", "-m", "rack.daemon", "/etc/rack/rack.json"),
    environment={
        "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": f"/{CODE_FOLDER}",
        "PYTHONUNBUFFERED": "1",
    },
)
KEPT = 3
"""Of each kind of thing in the cache so many are kept: this one, and those that a checkout beside this one may use."""
KINDS = (
    "code-*",
    "served-*",
    "mirror-*",
    "rack-*.tar",
    "rack-*.unpacked",
    "management-*.tar",
    "compute-*.tar",
    "bessemer-lab-*.tar",
)


def build_image() -> Image:
    """Build the image unless it is cached.

    Raises:
        subprocess.CalledProcessError: a tool failed; its output is above.

    """
    started = time.monotonic()
    layers = build_layers()
    cache = cache_directory()
    image = Image(f"{REPOSITORY}:{layers.digest}", cache / f"bessemer-lab-{layers.digest}.tar")
    with locked(cache / "lock"):
        if not image.archive.exists():
            create_archive(image.archive, [image.name], [layers.root, layers.served, layers.code], CONFIGURATION)
            say(
                f"built {image.name} in {time.monotonic() - started:.0f} s, {image.archive.stat().st_size / 1e6:.0f} MB"
            )
            delete_old(cache)
    return image


def delete_old(cache: Path) -> None:
    """Keep the newest of each kind only."""
    for kind in KINDS:
        found = sorted(cache.glob(kind), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in found[KEPT:]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

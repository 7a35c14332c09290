"""A management machine that is already installed, for builds that don't provision it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from . import network
from .boothost import plant
from .machine import Machine
from .settings import Settings

IMAGE = "images/management.tar.gz"


async def install_management(machine: Machine, settings: Settings) -> None:
    """Put the management image with the rack's keys onto the machine's disk."""
    await network.run("mkfs.ext4", "-q", "-F", str(machine.disk_file))
    with tempfile.TemporaryDirectory() as folder:
        await network.run("mount", "-o", "loop", str(machine.disk_file), folder)
        try:
            await network.run("tar", "-xzf", str(settings.http_root / IMAGE), "-C", folder)
            plant(Path(folder), machine.name, settings.keys)
        finally:
            await network.run("umount", folder)

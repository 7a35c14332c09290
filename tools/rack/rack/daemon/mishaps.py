"""Mishaps that must wait for the right moment of a machine."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

from . import network
from .settings import MachineSettings

POLL_SECONDS = 0.02
MISHAP_SECONDS = 1800
"""Maximum wait for the moment of a mishap: longer than any install."""


async def wait_for_traffic(machine: MachineSettings, amount: int) -> None:
    """Wait until so many bytes have gone through a machine's cables from now on."""
    start = network.count_traffic(machine)
    async with asyncio.timeout(MISHAP_SECONDS):
        while network.count_traffic(machine) < start + amount:
            await asyncio.sleep(POLL_SECONDS)


async def swap_host_key(process: int) -> None:
    """Wait until a machine runs an installed system, and replace its SSH host keys by others.

    An installed system is recognized by its init as process 1; an sshd that was faster reads its keys again on SIGHUP.
    """
    keys = Path(f"/proc/{process}/root/etc/ssh")
    async with asyncio.timeout(MISHAP_SECONDS):
        while not (Path(f"/proc/{process}/comm").read_text().strip() == "init" and list(keys.glob("ssh_host_*_key"))
                   and not is_script(process)):  # fmt: skip
            await asyncio.sleep(POLL_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        for key in keys.glob("ssh_host_*_key"):
            kind = key.name.removeprefix("ssh_host_").removesuffix("_key")
            other = Path(folder, key.name)
            await network.run("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(other))
            for source, target in ((other, key), (other.with_suffix(".pub"), key.with_suffix(".pub"))):
                target.write_bytes(source.read_bytes())
    pid_file = Path(f"/proc/{process}/root/run/sshd.pid")
    if pid_file.exists():
        await network.run(
            "nsenter", "-t", str(process), "-p", "-m", "kill", f"-{signal.SIGHUP.value}", pid_file.read_text().strip()
        )


def is_script(process: int) -> bool:
    """Return whether a process is an initramfs's shell script rather than a program of its own name."""
    return os.path.basename(os.readlink(f"/proc/{process}/exe")) != "init"

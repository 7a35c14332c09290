"""The site's boot host: DHCP, TFTP, HTTP and SSH on a separate root file system over the pod's."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from . import network
from .boot import PACKAGE_PARENT
from .console import SerialConsole
from .settings import BOOT_HOST, MANAGEMENT_ADDRESS, SITE_BRIDGE, Settings


class BootHost:
    """The boot host, always on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.state / BOOT_HOST
        self._launcher: asyncio.subprocess.Process | None = None
        for name in ("upper", "work", "root"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self.console = SerialConsole(self._folder / "console.log")

    async def start(self) -> None:
        """Write the boot host's identity and start it."""
        plant(self._folder / "upper", BOOT_HOST, self._settings.keys)
        reservations = self._folder / "upper/etc/dnsmasq.d/machines.conf"
        reservations.parent.mkdir(parents=True, exist_ok=True)
        reservations.write_text(build_reservations(self._settings))
        await network.create_boot_host_card()
        terminal = self.console.open_terminal()
        namespaces = [
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--cgroup",
            "--fork",
            "--kill-child=SIGKILL",
            "--propagation",
            "private",
        ]
        self._launcher = await asyncio.create_subprocess_exec(
            "nsenter", f"--net={network.NAMESPACES / BOOT_HOST}", "unshare", *namespaces,
            "python3", "-m", f"{__package__}.firmware.direct", str(self._folder),
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)},
        )  # fmt: skip

    @property
    def process(self) -> int | None:
        """Process 1 of the boot host as seen by the rack."""
        if self._launcher is None:
            return None
        children = Path(f"/proc/{self._launcher.pid}/task/{self._launcher.pid}/children")
        return int(children.read_text().split()[0]) if children.exists() and children.read_text() else None

    async def stop(self) -> None:
        """Switch it off."""
        if self._launcher and self._launcher.returncode is None:
            self._launcher.kill()
            await self._launcher.wait()
        self.console.close_terminal()


def plant(root: Path, name: str, keys: Path) -> None:
    """Write host name, SSH host key and authorized keys to a root file system, as installers do."""
    etc, home = root / "etc", root / "root/.ssh"
    (etc / "ssh").mkdir(parents=True, exist_ok=True)
    (etc / "hostname").write_text(name + "\n")
    (root / "root").mkdir(mode=0o700, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    for source, target in (
        (keys / "ssh_host_ed25519_key", etc / "ssh/ssh_host_ed25519_key"),
        (keys / "authorized_keys", home / "authorized_keys"),
    ):
        shutil.copyfile(source, target)
        target.chmod(0o600)


def build_reservations(settings: Settings) -> str:
    """Return dnsmasq's reservations: the site knows only the management machine's network card."""
    lines = [
        f"dhcp-host={nic.mac},{MANAGEMENT_ADDRESS},{machine.name}"
        for machine in settings.machines
        for nic in machine.nics
        if nic.bridge == SITE_BRIDGE
    ]
    return "\n".join(lines) + "\n"

"""One run of a machine in its namespaces, from its firmware's first instruction to the end of its process 1."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from . import network
from .disk import Disk, detach_backed_by, list_file_systems
from .settings import MachineSettings

PACKAGE_PARENT = Path(__file__).parents[2]
FIRMWARE = f"{__package__}.firmware"


class Ending(StrEnum):
    """How a run ended, as seen by the parent of its PID namespace; see pid_namespaces(7) on reboot(2)."""

    RESTART = "restart"
    HALT = "halt"
    PANIC = "panic"
    """Process 1 ended by itself: a kernel panics then."""
    POWER_LOSS = "power loss"


ENDINGS = {-signal.SIGHUP: Ending.RESTART, -signal.SIGINT: Ending.HALT}


class Run:
    """A running machine.

    Args:
        machine: what it is.
        folder: where its firmware's configuration is written.
        on_stage: called with each stage that the firmware announces.

    """

    def __init__(self, machine: MachineSettings, folder: Path, on_stage: Callable[[dict[str, str]], None]) -> None:
        self._machine = machine
        self._folder = folder
        self._on_stage = on_stage
        self._launcher: asyncio.subprocess.Process | None = None
        self._process: int | None = None
        self._power_is_cut = False

    async def execute(self, terminal: int, disk: Disk, *, with_loop: bool, post_seconds: float) -> Ending:
        """Run the machine until it ends."""
        config = self._folder / "firmware.json"
        names = [nic.name for nic in self._machine.nics]
        facts = {
            "name": self._machine.name,
            "nics": names,
            "disk_minor": disk.minor,
            "with_loop": with_loop,
            "post_seconds": post_seconds,
        }
        config.write_text(json.dumps(facts))
        reading, writing = os.pipe()
        # The control group of the pod becomes the root of the machine's hierarchy.
        namespaces = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child=SIGKILL"]
        command = [
            "nsenter",
            f"--net={network.NAMESPACES / self._machine.name}",
            "unshare",
            *namespaces,
            "--propagation",
            "private",
        ]
        command += ["python3", "-m", FIRMWARE, str(config), str(writing)]
        try:
            self._launcher = await asyncio.create_subprocess_exec(
                *command, stdin=terminal, stdout=terminal, stderr=terminal, pass_fds=[writing],
                start_new_session=True, env={**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)},
            )  # fmt: skip
        finally:
            os.close(writing)
        stages = asyncio.create_task(self._follow_stages(reading))
        code = await self._launcher.wait()
        stages.cancel()
        with suppress(asyncio.CancelledError):
            await stages
        return Ending.POWER_LOSS if self._power_is_cut else ENDINGS.get(code, Ending.PANIC)

    async def _follow_stages(self, reading: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            async for line in reader:
                self._on_stage(json.loads(line))
        finally:
            transport.close()

    @property
    def process(self) -> int | None:
        """Process 1 of the machine as seen by the rack; None if there is none."""
        if self._launcher is None or self._launcher.returncode is not None:
            return None
        if self._process is None:
            children = Path(f"/proc/{self._launcher.pid}/task/{self._launcher.pid}/children")
            with suppress(OSError):
                self._process = int((children.read_text().split() or ["0"])[0]) or None
        return self._process

    def cut_power(self) -> None:
        """End the machine at once; what it leaves behind is cleaned up."""
        self._power_is_cut = True
        process = self.process
        file_systems = list_file_systems(process) if process else set()
        if process:
            os.kill(process, signal.SIGKILL)
        elif self._launcher is not None and self._launcher.returncode is None:
            self._launcher.kill()
        detach_backed_by(own_file_systems(file_systems))


def own_file_systems(file_systems: set[int]) -> set[int]:
    """Return the file systems without those that the rack itself has mounted."""
    return file_systems - list_file_systems(os.getpid())

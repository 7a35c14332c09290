"""A machine: its power, its stage, and its faults."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Any

from . import disk as disks
from . import network
from .boot import Ending, Run
from .console import SerialConsole
from .faults import Fault, FaultBoard
from .journal import Journal
from .mishaps import swap_host_key, wait_for_traffic
from .settings import MachineSettings

BROKEN_DISK_MIB = 8
INSTALL_BYTES = 512 << 10
"""Bytes that an installer has received when its cable is unplugged or its power supply trips: the install is well under
way."""
SLOW_RATE = "40mbit"
FAULTY_RATE = "16mbit"
"""The cable is slow before a mishap, so that it happens in the middle of even a small install."""
SLOW_POST_SECONDS = 3.0


class Stage(StrEnum):
    """The stage of a machine."""

    OFF = "off"
    FIRMWARE = "firmware"
    NETBOOT = "netboot"
    INITRD = "initrd"
    """Runs the system that it got from the network: an installer, or a system in memory."""
    DISK = "disk"
    """Runs the system on its disk."""
    HUNG = "hung"
    """Has power but runs nothing: nothing to boot, or a kernel panic."""
    DEAD = "dead"
    """The outlet is on, but the power supply has tripped."""


class Machine:
    """One machine of the rack."""

    def __init__(self, settings: MachineSettings, folder: Path, faults: FaultBoard, journal: Journal) -> None:
        self.settings = settings
        self.stage = Stage.OFF
        self.boots = 0
        self.boot_source = ""
        folder.mkdir(parents=True, exist_ok=True)
        self.console = SerialConsole(folder / "console.log")
        self.disk_file = folder / "disk"
        self._folder = folder
        self._faults = faults
        self._journal = journal
        self._outlet_on = False
        self._task: asyncio.Task[None] | None = None
        self._run: Run | None = None
        self._mishap: asyncio.Task[None] | None = None
        self._panic_seconds = 0
        if not self.disk_file.exists():
            disks.create_blank(self.disk_file, settings.disk_mib)

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.settings.name

    @property
    def is_on(self) -> bool:
        """Whether the outlet is on."""
        return self._outlet_on

    @property
    def is_deaf(self) -> bool:
        """Whether its power controller does not answer."""
        return self._faults.is_on(self.name, Fault.DEAF_BMC)

    @property
    def process(self) -> int | None:
        """Process 1 as seen by the rack."""
        return self._run.process if self._run else None

    def power_on(self) -> None:
        """Switch on; no effect on a machine that is on."""
        if self._outlet_on:
            return
        if self._faults.take(self.name, Fault.NEVER_POWERS_ON):
            self._journal.note(self.name, "power-on-refused")
            return
        self._outlet_on = True
        self.stage = Stage.FIRMWARE
        self._journal.note(self.name, "power-on")
        before = self._task
        self._task = asyncio.create_task(self._live(before))
        self._task.add_done_callback(self._report)

    def power_off(self) -> None:
        """Switch off."""
        if not self._outlet_on:
            return
        self._outlet_on = False
        self.stage = Stage.OFF
        self._journal.note(self.name, "power-off")
        if self._run:
            self._run.cut_power()

    async def settle(self) -> None:
        """Wait until a machine without power has completely stopped."""
        if self._task and not self._outlet_on:
            await self._task

    def wipe(self) -> None:
        """Replace the disk by an empty one.

        Raises:
            ValueError: the machine is on.
        """
        if self._outlet_on or (self._task and not self._task.done()):
            raise ValueError(f"{self.name} is on: power it off before its disk is changed")
        disks.create_blank(self.disk_file, self.settings.disk_mib)

    def describe(self) -> dict[str, Any]:
        """Return the machine's state."""
        return {
            "power": "on" if self._outlet_on else "off",
            "stage": str(self.stage),
            "boots": self.boots,
            "bootSource": self.boot_source,
            "process": self.process,
            "faults": self._faults.list_on(self.name),
        }

    async def _live(self, before: asyncio.Task[None] | None) -> None:
        """Run the machine from power-on to power-off, through its restarts."""
        if before:
            await before
        post_seconds = SLOW_POST_SECONDS if self._faults.is_on(self.name, Fault.SLOW) else 0.0
        slow = self._faults.take(self.name, Fault.SLOW)
        while self._outlet_on:
            ending = await self._run_once(post_seconds, slow)
            self._journal.note(self.name, "ended", str(ending))
            if not self._outlet_on:
                return
            match ending:
                case Ending.RESTART:
                    self.stage = Stage.FIRMWARE
                case Ending.HALT:
                    self._outlet_on = False
                    self.stage = Stage.OFF
                case Ending.PANIC if self._panic_seconds != 0:
                    await asyncio.sleep(max(self._panic_seconds, 0))
                case Ending.PANIC:
                    self.console.write(b"Kernel panic - not syncing: Attempted to kill init!\n")
                    self.stage = Stage.HUNG
                    return
                case Ending.POWER_LOSS:
                    self.stage = Stage.DEAD
                    return

    async def _run_once(self, post_seconds: float, slow: bool) -> Ending:
        self.boots += 1
        self._panic_seconds = 0
        broken = self._faults.is_on(self.name, Fault.INSTALL_ERROR)
        await network.create_cards(self.settings)
        if self._faults.take(self.name, Fault.NEVER_NETBOOTS):
            await network.cut(self.settings)
        if slow:
            await network.shape(self.settings, SLOW_RATE)
        disk = disks.attach(self._broken_disk() if broken else self.disk_file)
        terminal = self.console.open_terminal()
        self._run = Run(self.settings, self._folder, self._on_stage)
        try:
            return await self._run.execute(terminal, disk, with_loop=not broken, post_seconds=post_seconds)
        finally:
            if self._mishap:
                self._mishap.cancel()
            self.console.close_terminal()
            await disks.release(disk)
            await network.delete_cards(self.settings)
            self._run = None

    def _report(self, task: asyncio.Task[None]) -> None:
        """Log an error of the rack itself, because the machine then only looks dead."""
        error = None if task.cancelled() else task.exception()
        if error:
            self.stage = Stage.DEAD
            self._journal.note(self.name, "rack-error", str(error))

    def _broken_disk(self) -> Path:
        file = self._folder / "broken-disk"
        disks.create_blank(file, BROKEN_DISK_MIB)
        return file

    def _on_stage(self, facts: dict[str, str]) -> None:
        """Process a stage that the firmware reports."""
        self.stage = Stage(facts["stage"])
        self.boot_source = facts.get("source", self.boot_source)
        detail = facts.get("reason") or facts.get("url", "")
        self._journal.note(
            self.name, "boot" if "source" in facts else str(self.stage), detail, source=facts.get("source", "")
        )
        panic = re.search(r"(?:^|\s)panic=(-?\d+)", facts.get("command_line", ""))
        self._panic_seconds = int(panic[1]) if panic else 0
        mishap = self._choose_mishap()
        if mishap:
            self._mishap = asyncio.create_task(mishap)

    def _choose_mishap(self) -> Coroutine[Any, Any, None] | None:
        """Return the fault for this stage, if there is one."""
        if self.stage is Stage.INITRD:
            if self._faults.take(self.name, Fault.INSTALL_ERROR):
                return None  # the disk was broken from the start
            if self._faults.take(self.name, Fault.INSTALL_STALLS):
                return self._lose_cable()
            if self._faults.take(self.name, Fault.DIES_ONCE):
                return self._trip_power_supply()
        if (
            self.stage in (Stage.INITRD, Stage.DISK)
            and self._faults.is_on(self.name, Fault.WRONG_HOST_KEY)
            and self.process
        ):
            return self._swap_host_key(self.process)
        return None

    async def _lose_cable(self) -> None:
        await network.shape(self.settings, FAULTY_RATE)
        await wait_for_traffic(self.settings, INSTALL_BYTES)
        self._journal.note(self.name, "mishap", "the cable came loose")
        await network.cut(self.settings)

    async def _trip_power_supply(self) -> None:
        await network.shape(self.settings, FAULTY_RATE)
        await wait_for_traffic(self.settings, INSTALL_BYTES)
        self._journal.note(self.name, "mishap", "the power supply tripped")
        if self._run:
            self._run.cut_power()

    async def _swap_host_key(self, process: int) -> None:
        try:
            await swap_host_key(process)
        except (FileNotFoundError, ProcessLookupError):  # the installer rebooted; its disk is next
            return
        self._faults.take(self.name, Fault.WRONG_HOST_KEY)
        self._journal.note(self.name, "mishap", "another host key took the place of the planted one")


async def stop_all(machines: list[Machine]) -> None:
    """Switch all machines off and wait until they have ended."""
    for machine in machines:
        machine.power_off()
    await asyncio.gather(*(machine.settle() for machine in machines))

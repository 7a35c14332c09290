"""The daemon: `python3 -m rack.daemon SETTINGS`."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from . import network
from .boothost import BootHost
from .control import Control
from .faults import FaultBoard
from .installed import install_management
from .journal import Journal
from .machine import Machine, stop_all
from .power import build_powerman_configuration, start_power_controllers
from .proxy import start_proxy
from .settings import BOOT_HOST_ADDRESS, MANAGEMENT_ADDRESS, Settings, parse_settings

SSH_PORT = 22
BOOT_HOST_SECONDS = 60
"""Timeout for the boot host to start its services: 1 s on an idle machine."""
PORTS = {2200: BOOT_HOST_ADDRESS, 2201: MANAGEMENT_ADDRESS}
"""Ports of the pod, with the hosts to whose SSH servers they lead."""
POWERMAN_CONFIGURATION = Path("/etc/powerman/powerman.conf")


async def run_rack(settings: Settings) -> None:
    """Run the rack until a signal ends it."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    faults, journal = FaultBoard(), Journal()
    machines = [Machine(machine, settings.state / machine.name, faults, journal) for machine in settings.machines]
    await network.create_bridges()
    boot_host = BootHost(settings)
    await boot_host.start()
    servers = await start_power_controllers(machines)
    powermand = await start_powermand(settings)
    servers += [await start_proxy(port, address, SSH_PORT) for port, address in PORTS.items()]
    if settings.management_installed:
        await install_management(machines[0], settings)
        machines[0].power_on()
    await network.wait_for_port(BOOT_HOST_ADDRESS, SSH_PORT, BOOT_HOST_SECONDS)
    servers.append(await Control(machines, boot_host, faults, journal).start())
    journal.note("rack", "ready", f"{len(machines)} machines")
    await stop.wait()
    for server in servers:
        server.close()
    powermand.kill()
    await powermand.wait()
    await stop_all(machines)
    await boot_host.stop()


async def start_powermand(settings: Settings) -> asyncio.subprocess.Process:
    """Start the real powermand in front of the power controllers."""
    POWERMAN_CONFIGURATION.write_text(build_powerman_configuration([machine.name for machine in settings.machines]))
    Path("/run/powerman").mkdir(exist_ok=True)
    command = ["powermand", "-f", "-c", str(POWERMAN_CONFIGURATION)]
    return await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)


if __name__ == "__main__":
    asyncio.run(run_rack(parse_settings(Path(sys.argv[1]).read_text())))

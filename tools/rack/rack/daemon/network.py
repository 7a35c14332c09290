"""The rack's wiring: two bridges in the pod's network namespace, and per machine a namespace with its network cards."""

from __future__ import annotations

import asyncio
from pathlib import Path

from .settings import BOOT_HOST, CLUSTER_BRIDGE, GATEWAY_ADDRESS, SITE_BRIDGE, MachineSettings, Nic

NAMESPACES = Path("/run/netns")


async def run(*command: str, feed: str = "") -> str:
    """Run a program that must succeed; return what it prints.

    Raises:
        RuntimeError: it failed; the message holds its complaint.

    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    output, complaint = await process.communicate(feed.encode())
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {complaint.decode(errors='replace').strip()}")
    return output.decode(errors="replace")


async def run_ip(*lines: str) -> None:
    """Run several commands of ip(8) at once."""
    await run("ip", "-batch", "-", feed="\n".join(lines) + "\n")


async def create_bridges() -> None:
    """Create the networks of site and cluster; the rack itself has an address only on the site's.

    A pod's network namespace outlives its containers, so the remains of an earlier daemon are deleted first.
    """
    old = [
        path.name
        for path in Path("/sys/class/net").iterdir()
        if path.name.startswith("port") or path.name in (SITE_BRIDGE, CLUSTER_BRIDGE)
    ]
    await run_ip(*(f"link delete {name}" for name in old))
    await run_ip(
        "link set lo up",
        f"link add {SITE_BRIDGE} type bridge forward_delay 0",
        f"link add {CLUSTER_BRIDGE} type bridge forward_delay 0",
        f"address add {GATEWAY_ADDRESS}/24 dev {SITE_BRIDGE}",
        f"link set {SITE_BRIDGE} up",
        f"link set {CLUSTER_BRIDGE} up",
    )


def port_name(number: int, nic: Nic) -> str:
    """Name the bridge's end of a machine's cable."""
    return f"port{number}-{nic.name}"


async def create_cards(machine: MachineSettings) -> None:
    """Create a machine's network namespace with new cards; the remains of an earlier power-on are deleted."""
    await delete_cards(machine)
    lines = [f"netns add {machine.name}"]
    for nic in machine.nics:
        port = port_name(machine.number, nic)
        lines += [
            f"link add {port} type veth peer name {nic.name} address {nic.mac} netns {machine.name}",
            f"link set {port} master {nic.bridge} up",
        ]
    await run_ip(*lines)


async def delete_cards(machine: MachineSettings) -> None:
    """Take a machine's cards and network namespace away."""
    lines = [f"link delete {name}" for nic in machine.nics if is_link(name := port_name(machine.number, nic))]
    if (NAMESPACES / machine.name).exists():
        lines.append(f"netns delete {machine.name}")
    if lines:
        await run_ip(*lines)


async def wait_for_port(address: str, port: int, seconds: float) -> None:
    """Wait until something answers on a TCP port.

    Raises:
        TimeoutError: nothing did in so many seconds.

    """
    async with asyncio.timeout(seconds):
        while True:
            try:
                _, writer = await asyncio.open_connection(address, port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def create_boot_host_card() -> None:
    """Plug the boot host into the site's network."""
    await run_ip(
        f"netns add {BOOT_HOST}",
        f"link add port-{BOOT_HOST} type veth peer name eth0 netns {BOOT_HOST}",
        f"link set port-{BOOT_HOST} master {SITE_BRIDGE} up",
    )


def is_link(name: str) -> bool:
    """Return whether a link is in the rack's network namespace."""
    return Path("/sys/class/net", name).exists()


async def cut(machine: MachineSettings) -> None:
    """Unplug all cables of a machine."""
    await run_ip(*(f"link set {port_name(machine.number, nic)} down" for nic in machine.nics))


async def shape(machine: MachineSettings, rate: str) -> None:
    """Limit a machine's bandwidth (in tc(8) notation)."""
    for nic in machine.nics:
        port = port_name(machine.number, nic)
        await run(
            "tc", "qdisc", "replace", "dev", port, "root", "tbf", "rate", rate, "burst", "32kb", "latency", "200ms"
        )


def count_traffic(machine: MachineSettings) -> int:
    """Count the bytes that went through a machine's cables since it was powered on."""
    total = 0
    for nic in machine.nics:
        for counter in ("rx_bytes", "tx_bytes"):
            file = Path("/sys/class/net", port_name(machine.number, nic), "statistics", counter)
            total += int(file.read_text()) if file.exists() else 0
    return total

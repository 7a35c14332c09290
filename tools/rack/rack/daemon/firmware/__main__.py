"""Firmware of one machine: `python3 -m rack.daemon.firmware CONFIG STAGE_FD`, as process 1 of new namespaces."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from .console import Console
from .initramfs import check_kernel, unpack
from .ipxe import BootPlan, Interpreter, expand
from .kernel import mount_devices, start
from .linux import Mount, mount
from .pxe import BootError, Lease, Network, request_boot_script

NEW_ROOT = "/run/newroot"
SCRATCH = Path("/run/firmware")


@dataclass(frozen=True)
class Config:
    """Hardware of the machine: network cards, disk, and quirks."""

    name: str
    nics: list[str]
    disk_minor: int | None
    """Loop device behind `/dev/sda`."""
    with_loop: bool
    """Whether the kernels that run here have the loop driver."""
    post_seconds: float
    """How long the power-on self-test takes."""


def main(config: Config, console: Console) -> NoReturn:
    """Run the self-test, boot from the network, otherwise from the disk; otherwise report a failure."""
    mount("none", "/", flags=Mount.REC | Mount.PRIVATE)
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    for folder, kind in ((NEW_ROOT, ""), (str(SCRATCH), "tmpfs")):
        Path(folder).mkdir(parents=True, exist_ok=True)
        if kind:
            mount(kind, folder, kind)
    mount_devices(config.disk_minor, config.with_loop)
    console.say(f"\n{config.name}: power-on self-test ok; boot order: network, disk")
    time.sleep(config.post_seconds)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        boot_from_network(config, console)
    except BootError as error:
        console.say(str(error))
    if config.disk_minor is not None:
        try:
            boot_from_disk(console)
        except BootError as error:
            console.say(str(error))
    console.say("No bootable device.")
    console.tell("hung", reason="no bootable device")
    while True:
        time.sleep(3600)


def boot_from_network(config: Config, console: Console) -> NoReturn:
    """Boot from the first network card.

    Raises:
        BootError: the network has nothing for this machine.
    """
    network = Network(config.nics[0], SCRATCH, console)
    console.tell("netboot")
    try:
        script, lease = request_boot_script(network, console)
        settings = build_settings(network, lease)
        interpreter = Interpreter(settings, lambda url: fetch_text(network, url), console.say)
        plan = interpreter.run(expand(script, settings))  # iPXE also expands the DHCP filename
        start_initramfs(plan, network, console)
    finally:
        network.reset()


def fetch_text(network: Network, url: str) -> str:
    """Fetch a boot script."""
    return network.fetch_by_http(url, SCRATCH / "script").read_text(errors="replace")


def build_settings(network: Network, lease: Lease) -> dict[str, str]:
    """Return iPXE's settings for the network card that booted."""
    facts = {"mac": network.mac, "ip": lease.address, "netmask": lease.mask, "gateway": lease.router}
    named = {f"net0/{key}": value for key, value in facts.items()}
    booted = {"next-server": lease.next_server, "hostname": lease.host_name, "filename": lease.boot_file}
    return {**facts, **named, **booted, "platform": "pcbios", "buildarch": "x86_64"}


def start_initramfs(plan: BootPlan, network: Network, console: Console) -> NoReturn:
    """Fetch kernel and initramfs, and start.

    Raises:
        BootError: something could not be fetched or is not what it should be.

    """
    kernel = network.fetch_by_http(plan.kernel, SCRATCH / "kernel")
    check_kernel(kernel)
    kernel.unlink()
    archives = [network.fetch_by_http(url, SCRATCH / "initrd").read_bytes() for url in plan.initrds]
    mount("rootfs", NEW_ROOT, "tmpfs", options="mode=0755")
    unpack(archives, Path(NEW_ROOT))
    if not Path(NEW_ROOT, "init").is_file():
        raise BootError("Kernel panic - not syncing: VFS: Unable to mount root fs (no /init in the initramfs)")
    network.reset()
    console.say(f"Linux: command line: {plan.arguments}")
    console.tell("initrd", command_line=plan.arguments, source="network", url=plan.kernel)
    start(NEW_ROOT, "/init", plan.arguments)


def boot_from_disk(console: Console) -> NoReturn:
    """Start the system on the disk.

    Raises:
        BootError: there is none.

    """
    done = subprocess.run(["mount", "/dev/sda", NEW_ROOT], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BootError("Boot from disk: not a bootable disk")
    if not Path(NEW_ROOT, "sbin/init").exists():
        subprocess.run(["umount", NEW_ROOT], check=True)
        raise BootError("Boot from disk: no /sbin/init on it")
    console.say("Booting from disk...")
    command_line = "root=/dev/sda rw"
    console.tell("disk", command_line=command_line, source="disk")
    start(NEW_ROOT, "/sbin/init", command_line)


if __name__ == "__main__":
    main(Config(**json.loads(Path(sys.argv[1]).read_text())), Console(int(sys.argv[2])))

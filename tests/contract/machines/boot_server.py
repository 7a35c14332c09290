"""A machine with role boot_server, a real dnsmasq and a network with one node, for the tests of the role."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from bessemer.machines.netboot import bootd
from tests.contract.machines.daemons import ensure_program
from tests.contract.machines.role_machine import RoleMachine, run_role_machine

ONE, OTHER, NEW, UNKNOWN = (f"52:54:00:8d:00:0{number}" for number in (2, 3, 9, 8))
VARIABLES = {
    "boot_server_program": bootd.__file__,
    "boot_server_build": "lab.oxygen",
    "boot_server_directory": "/var/lib/bessemer",
    "boot_server_port": 8099,
    "boot_server_interface": "eth1",
    "boot_server_address": "10.141.0.1/16",
    "boot_server_network": "10.141.0.0",
    "boot_server_netmask": "255.255.0.0",
    "boot_server_downloads": [],
}
ON_NODE = ("ip", "netns", "exec", "node")


@contextlib.contextmanager
def run_boot_server(folder: Path) -> Iterator[RoleMachine]:
    """Run a machine on which the role can be applied; ``card``, in namespace ``node``, is on its network."""
    for program, package in (("nft", "nftables"), ("dnsmasq", "dnsmasq-base"), ("busybox", "busybox-static")):
        ensure_program(program, package)
    with run_role_machine(folder, ["dnsmasq", "runit-helper", "ipxe"]) as made:
        made.run("ip", "link", "add", "eth1", "type", "bridge")
        made.run("ip", "address", "add", "10.141.0.1/16", "dev", "eth1")
        made.run("ip", "link", "set", "eth1", "up")
        made.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "card")
        made.run("ip", "link", "set", "wire", "master", "eth1", "up")
        made.run("ip", "netns", "add", "node")
        made.run("ip", "link", "set", "card", "netns", "node")
        script = made.root / "tmp/got"
        script.write_text('#!/bin/sh\n[ "$1" = bound ] && echo "$ip for $lease" >/tmp/lease\nexit 0\n')
        script.chmod(0o755)
        yield made


def apply(machine: RoleMachine, addresses: Mapping[str, str], build: str = "lab.oxygen", **more: object) -> int:
    """Run the role for machines, as MAC address and last number of the address; returns how many tasks changed it."""
    machines = [
        {"name": f"oxygen{number}", "mac": mac, "address": f"10.141.0.{number}"} for mac, number in addresses.items()
    ]
    variables = VARIABLES | {"boot_server_machines": machines, "boot_server_build": build} | more
    return machine.apply([{"ansible.builtin.include_role": {"name": "boot_server"}}], variables)["changed"]


def ask(machine: RoleMachine, mac: str) -> str:
    """Ask for an address as the machine with a MAC address would; returns its last number and its lease, or nothing."""
    machine.run(*ON_NODE, "ip", "link", "set", "card", "down")
    machine.run(*ON_NODE, "ip", "link", "set", "card", "address", mac, "up")
    machine.run("rm", "-f", "/tmp/lease")
    asked = ["busybox", "udhcpc", "-f", "-n", "-q", "-t", "4", "-T", "1", "-i", "card", "-s", "/tmp/got"]
    machine.run(*ON_NODE, *asked, check=False)
    lease = machine.root / "tmp/lease"
    return lease.read_text().strip().removeprefix("10.141.0.") if lease.exists() else ""


def get_all(machine: RoleMachine, addresses: Mapping[str, str]) -> dict[str, str]:
    return {mac: ask(machine, mac) for mac in addresses}


def lease(addresses: Mapping[str, str]) -> dict[str, str]:
    """The lease that each machine must get: its address, for ten minutes."""
    return {mac: f"{number} for 600" for mac, number in addresses.items()}

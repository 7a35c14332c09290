"""Role boot_server with a real dnsmasq: whatever changes in the spec, each machine gets its address at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from bessemer.machines.netboot import bootd
from tests.contract.machines.role_machine import RoleMachine, run_role_machine

ONE, OTHER, NEW = (f"52:54:00:8d:00:0{number}" for number in (2, 3, 9))
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


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleMachine]:
    with run_role_machine(tmp_path_factory.mktemp("machine"), ["dnsmasq", "ipxe"]) as made:
        made.run("ip", "link", "add", "eth1", "type", "bridge")
        made.run("ip", "address", "add", "10.141.0.1/16", "dev", "eth1")
        made.run("ip", "link", "set", "eth1", "up")
        made.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "card")
        made.run("ip", "link", "set", "wire", "master", "eth1", "up")
        script = made.root / "tmp/got"
        script.write_text('#!/bin/sh\n[ "$1" = bound ] && echo "$ip for $lease" >/tmp/lease\nexit 0\n')
        script.chmod(0o755)
        yield made


def apply(machine: RoleMachine, addresses: Mapping[str, str], build: str = "lab.oxygen") -> int:
    """Run the role for machines, as MAC address and last number of the address; returns how many tasks changed it."""
    machines = [
        {"name": f"oxygen{number}", "mac": mac, "address": f"10.141.0.{number}"} for mac, number in addresses.items()
    ]
    variables = VARIABLES | {"boot_server_machines": machines, "boot_server_build": build}
    return machine.apply([{"ansible.builtin.include_role": {"name": "boot_server"}}], variables)["changed"]


def ask(machine: RoleMachine, mac: str) -> str:
    """Ask for an address as the machine with a MAC address would; returns its last number and its lease, or nothing."""
    machine.run("ip", "link", "set", "card", "down")
    machine.run("ip", "link", "set", "card", "address", mac, "up")
    machine.run("rm", "-f", "/tmp/lease")
    asked = ["busybox", "udhcpc", "-f", "-n", "-q", "-t", "4", "-T", "1", "-i", "card", "-s", "/tmp/got"]
    machine.run(*asked, check=False)
    lease = machine.root / "tmp/lease"
    return lease.read_text().strip().removeprefix("10.141.0.") if lease.exists() else ""


def get_all(machine: RoleMachine, addresses: Mapping[str, str]) -> dict[str, str]:
    return {mac: ask(machine, mac) for mac in addresses}


def lease(addresses: Mapping[str, str]) -> dict[str, str]:
    """What each machine is to be given: its address, for ten minutes."""
    return {mac: f"{number} for 600" for mac, number in addresses.items()}


def test_machines_get_their_addresses_at_once_whatever_changes(machine: RoleMachine) -> None:
    first = {ONE: "2", OTHER: "3"}
    assert apply(machine, first) > 0
    assert get_all(machine, first) == lease(first)
    assert apply(machine, first) == 0, "a second run changes nothing"
    swapped = {ONE: "3", OTHER: "2"}
    replaced = {NEW: "3", OTHER: "2"}
    renumbered = {NEW: "4", OTHER: "3"}
    given_on = {OTHER: "4"}
    for addresses in (swapped, replaced, renumbered, given_on):
        apply(machine, addresses)
        assert get_all(machine, addresses) == lease(addresses)
    leases = (machine.root / "var/lib/bessemer/dhcp.leases").read_text()
    assert f" {OTHER} 10.141.0.4 " in leases


def test_another_build_takes_over_machines_and_leases_that_fit_stay(machine: RoleMachine) -> None:
    before, after = {ONE: "2", OTHER: "3"}, {NEW: "2", OTHER: "3"}
    apply(machine, before)
    assert get_all(machine, before) == lease(before)
    apply(machine, after, build="lab.neon")
    leases = (machine.root / "var/lib/bessemer/dhcp.leases").read_text()
    assert f" {OTHER} 10.141.0.3 " in leases
    assert ONE not in leases
    assert get_all(machine, after) == lease(after)


def test_the_log_says_who_is_refused(machine: RoleMachine) -> None:
    assert ask(machine, ONE) == ""
    log = (machine.root / "var/log/bessemer-dnsmasq.log").read_text()
    assert f"DHCPDISCOVER(eth1) {ONE} no address" in log

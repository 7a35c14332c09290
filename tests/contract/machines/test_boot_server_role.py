"""Role boot_server with a real dnsmasq: whatever changes in the spec, each machine gets its address at once.

And whatever users of the machines send: a real nftables drops what is said to be DHCP and comes from their ports.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

import pytest

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


DECLINE = """
import socket, struct, sys
mac, address = bytes.fromhex(sys.argv[1].replace(":", "")), socket.inet_aton(sys.argv[2])
head = struct.pack("!BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, 7, 0, 0, bytes(4), b"", b"", b"", mac, b"", b"")
options = bytes([53, 1, 4, 50, 4]) + address + bytes([54, 4]) + socket.inet_aton("10.141.0.1") + bytes([255])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.bind(("", 40000))
    sender.sendto(head + bytes([0x63, 0x82, 0x53, 0x63]) + options, ("10.141.0.1", 67))
"""
"""Says, as any user may, that an address of another machine is taken by a third."""
ON_NODE = ("ip", "netns", "exec", "node")
AS_USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
SENDERS = {"of a node": ON_NODE, "of the management node": ()}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleMachine]:
    for program, package in (("nft", "nftables"), ("dnsmasq", "dnsmasq-base"), ("busybox", "busybox-static")):
        ensure_program(program, package)
    with run_role_machine(tmp_path_factory.mktemp("machine"), ["dnsmasq", "runit-helper", "ipxe"]) as made:
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


def decline(machine: RoleMachine, sender: str, mac: str, number: str) -> bool:
    """Decline an address as a user who sends in the name of its machine; returns whether dnsmasq has heard it."""
    machine.run(*ON_NODE, "ip", "link", "set", "card", "up")
    machine.run(*ON_NODE, "ip", "address", "replace", "10.141.0.200/16", "dev", "card")
    log = machine.root / "var/log/bessemer-dnsmasq.log"
    before = log.read_text().count("DHCPDECLINE")
    program = [sys.executable, "-c", DECLINE, mac, f"10.141.0.{number}"]
    machine.run(*SENDERS[sender], *AS_USER, *program)
    ask(machine, UNKNOWN)  # its refusal stands in the log after whatever came before
    return log.read_text().count("DHCPDECLINE") > before


def count_dropped(machine: RoleMachine) -> int:
    return int(
        machine.run("nft", "list", "table", "ip", "bessemer_dhcp").stdout.split("counter packets ")[1].split()[0]
    )


@pytest.mark.parametrize("sender", SENDERS)
def test_a_user_can_not_take_an_address_from_a_machine(machine: RoleMachine, sender: str) -> None:
    machines = {ONE: "2", OTHER: "3"}
    apply(machine, machines)
    before = count_dropped(machine)
    assert not decline(machine, sender, ONE, "2")
    assert count_dropped(machine) == before + 1
    assert get_all(machine, machines) == lease(machines)


def test_the_rule_comes_back_and_goes_by_a_variable(machine: RoleMachine) -> None:
    machines = {ONE: "2", OTHER: "3"}
    apply(machine, machines)
    assert apply(machine, machines) == 0
    machine.run("nft", "add", "table", "inet", "site")
    machine.run("nft", "delete", "table", "ip", "bessemer_dhcp")
    assert apply(machine, machines) == 2, "what was flushed is found missing and loaded again"
    machine.run("nft", "flush", "ruleset")
    started = sorted(path.name for path in (machine.root / "etc/rc2.d").glob("S*"))
    scripts = [name for name in started if name.endswith(("bessemer-dhcp-filter", "dnsmasq"))]
    assert [name[3:] for name in scripts] == ["bessemer-dhcp-filter", "dnsmasq"]
    for script in scripts:  # as at a boot
        machine.run(f"/etc/rc2.d/{script}", "start")
    assert not decline(machine, "of a node", ONE, "2")

    machine.run("nft", "add", "table", "inet", "site")
    assert apply(machine, machines, boot_server_dhcp_filter=False) > 0
    assert apply(machine, machines, boot_server_dhcp_filter=False) == 0
    assert machine.run("nft", "list", "tables").stdout == "table inet site\n"
    assert decline(machine, "of a node", ONE, "2"), "without it any user is heard"
    assert ask(machine, ONE) == ""

    apply(machine, machines)
    machine.run("service", "dnsmasq", "restart")
    assert get_all(machine, machines) == lease(machines)

"""Role boot_server, whatever users of the machines send: a real nftables drops what is said to be DHCP and comes from
their ports.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.contract.machines.boot_server import (
    ON_NODE,
    ONE,
    OTHER,
    UNKNOWN,
    apply,
    ask,
    get_all,
    lease,
    run_boot_server,
)
from tests.contract.machines.role_machine import RoleMachine

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
AS_USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
SENDERS = {"of a node": ON_NODE, "of the management node": ()}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleMachine]:
    with run_boot_server(tmp_path_factory.mktemp("machine")) as made:
        yield made


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

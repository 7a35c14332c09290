"""Role boot_server with a real dnsmasq: whatever changes in the spec, each machine gets its address at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.machines.boot_server import NEW, ONE, OTHER, apply, ask, get_all, lease, run_boot_server
from tests.contract.machines.role_machine import RoleMachine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleMachine]:
    with run_boot_server(tmp_path_factory.mktemp("machine")) as made:
        yield made


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

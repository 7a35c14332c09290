"""The rack's settings, faults, leases and powermand configuration."""

import pytest

from rack.daemon.faults import Fault, FaultBoard
from rack.daemon.firmware.pxe import parse_lease
from rack.daemon.power import build_powerman_configuration, parse_plugs
from rack.daemon.settings import parse_settings


def test_machines_are_numbered_from_the_management_node() -> None:
    machines = parse_settings('{"clusterName": "oxygen", "computeNodes": 64}').machines
    assert [machine.name for machine in machines[:3]] == ["oxygen1", "oxygen2", "oxygen3"]
    assert [(nic.name, nic.mac, nic.bridge) for nic in machines[0].nics] == [
        ("eth0", "52:54:00:77:00:01", "site"),
        ("eth1", "52:54:00:8d:00:01", "cluster"),
    ]
    assert machines[-1].name == "oxygen65"
    assert machines[-1].nics[0].mac == "52:54:00:8d:00:41"
    assert len({nic.mac for machine in machines for nic in machine.nics}) == 66


def test_machines_are_named_by_rack_and_node_where_wanted() -> None:
    machines = parse_settings('{"computeNodes": 4, "nodesPerRack": 2}').machines
    assert [machine.name for machine in machines] == ["oxygen1", "r1n1", "r1n2", "r2n1", "r2n2"]


@pytest.mark.parametrize("count", [-1, 65, "4"])
def test_number_of_compute_nodes_is_checked(count: object) -> None:
    with pytest.raises(ValueError, match="computeNodes must be a number from 0 to 64"):
        parse_settings(f'{{"computeNodes": {count!r}}}'.replace("'", '"'))


def test_fault_happens_as_often_as_told() -> None:
    board = FaultBoard()
    board.switch_on("a", Fault.SLOW, times=2)
    assert [board.take("a", Fault.SLOW) for _ in range(3)] == [True, True, False]
    assert board.list_on("a") == {}


def test_fault_happens_always_unless_it_is_by_nature_a_single_one() -> None:
    board = FaultBoard()
    board.switch_on("a", Fault.NEVER_POWERS_ON)
    board.switch_on("a", Fault.DIES_ONCE)
    assert all(board.take("a", Fault.NEVER_POWERS_ON) for _ in range(5))
    assert [board.take("a", Fault.DIES_ONCE) for _ in range(2)] == [True, False]
    assert board.list_on("a") == {"never-powers-on": None}


def test_faults_are_switched_off_one_by_one_or_together() -> None:
    board = FaultBoard()
    for fault in Fault:
        board.switch_on("a", fault)
    board.switch_on("b", Fault.SLOW)
    board.switch_off("a", Fault.SLOW)
    assert not board.is_on("a", Fault.SLOW)
    board.switch_off("a")
    assert board.list_on("a") == {}
    assert board.is_on("b", Fault.SLOW)


def test_sixteen_plugs_make_a_strip() -> None:
    text = build_powerman_configuration([f"n{number}" for number in range(1, 66)])
    assert text.count("\ndevice ") == 65
    assert 'device "bmc64" "vpc" "127.0.0.1:4065"\nnode "n65" "bmc64" "0"\n' in text


def test_plugs_are_one_or_all() -> None:
    assert list(parse_plugs("3")) == [3]
    assert len(parse_plugs("*")) == 16


def test_lease_prefers_options_to_the_fields_of_the_header() -> None:
    lease = parse_lease("ip=10.0.0.2\nmask=16\nsiaddr=10.0.0.1\nboot_file=a\nbootfile=b\nrouter=10.0.0.1 10.0.0.9\n")
    assert (lease.address, lease.mask, lease.next_server, lease.boot_file, lease.router) == (
        "10.0.0.2", "16", "10.0.0.1", "b", "10.0.0.1"
    )  # fmt: skip

"""Machines that misbehave, each in its own way: every fault ends in its own reason, and the others are unharmed.

Machines are named by rack and node, so that their names are hostlists of two dimensions to all that reads them.
"""

from __future__ import annotations

import pytest

from bessemer.machines.hostlists import parse_hostlist
from local_kubernetes.kubectl import Resource
from tests.e2e.conftest import MakeSite
from tests.support.site import Site, condition

pytestmark = pytest.mark.e2e

SHORT_DEADLINES = {
    "powerOnSeconds": 10,
    "netbootSeconds": 30,
    "installSeconds": 60,
    "reachableSeconds": 40,
}
"""So that a fault is found within the test's patience; healthy machines take a fraction of each."""
FAULTS = {
    "r1n1": ("never-powers-on", "NeverPoweredOn"),
    "r1n2": ("never-netboots", "NeverNetbooted"),
    "r1n3": ("install-stalls", "InstallStalled"),
    "r2n1": ("install-error", "InstallFailed"),
    "r2n2": ("wrong-host-key", "HostKeyMismatch"),
    "r2n3": ("deaf-bmc", "NeverPoweredOn"),
}


@pytest.fixture(scope="module")
def site(make_shared_site: MakeSite) -> Site:
    return make_shared_site("faults", compute_nodes=9, nodesPerRack=3)


@pytest.fixture(scope="module")
def built(site: Site) -> Resource:
    for machine, (fault, _) in FAULTS.items():
        site.lab.fault(machine, fault)
    site.lab.fault("r3n1", "slow")
    site.lab.fault("r3n2", "dies-once", times=1)
    site.kubectl.apply(
        site.build_manifest(compute={"minReady": "3"}, deadlines=SHORT_DEADLINES, retries={"nodeAttempts": 2})
    )
    return site.wait_until_settled()


def failed(build: Resource) -> dict[str, str]:
    """The nodes that failed, with their reasons."""
    groups = [group for group in build["status"]["nodes"]["groups"] if group["state"] == "Failed"]
    return {host: group["reason"] for group in groups for host in parse_hostlist(group["hosts"])}


@pytest.mark.parametrize(("machine", "reason"), [(machine, reason) for machine, (_, reason) in FAULTS.items()])
def test_fault_ends_in_its_own_reason(built: Resource, machine: str, reason: str) -> None:
    assert failed(built).get(machine) == reason


def test_slow_and_once_dying_machines_come_up_with_the_healthy_one(site: Site, built: Resource) -> None:
    assert condition(built, "Ready")["status"] == "True", built["status"]
    assert built["status"]["jobs"][0]["nodes"] == "r3n[1-3]"
    assert site.lab.exec("oxygen1", ["sinfo", "--noheader", "--states=idle", "--format=%N"]).split() == ["r3n[1-3]"]


def test_missing_nodes_are_named_by_the_degraded_condition(built: Resource) -> None:
    degraded = condition(built, "Degraded")
    assert degraded["status"] == "True"
    assert all(reason in degraded["message"] for _, reason in FAULTS.values()), degraded["message"]


def test_a_node_whose_power_control_is_silent_says_so_and_holds_up_no_other(built: Resource) -> None:
    groups = [group for group in built["status"]["nodes"]["groups"] if "r2n3" in parse_hostlist(group["hosts"])]
    assert "power control" in groups[0]["message"], groups
    assert set(failed(built)) == set(FAULTS)


def test_repaired_machines_come_up_and_one_that_is_missing_fails_a_build_that_needs_all(
    site: Site, built: Resource
) -> None:
    for machine in FAULTS:
        if machine != "r1n1":
            site.lab.repair(machine)
    site.kubectl.apply(
        site.build_manifest(
            compute={"minReady": "100%"}, deadlines=SHORT_DEADLINES, retries={"nodeAttempts": 1, "phaseAttempts": 1}
        )
    )
    build = site.wait_until_settled()
    ready = condition(build, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "TooFewNodes")
    assert set(failed(build)) == {"r1n1"}
    assert next(phase for phase in build["status"]["phases"] if phase["name"] == "Cleanup")["state"] == "Succeeded"

"""Machines that misbehave, each in its own way: every fault ends in its own reason, and the others are unharmed."""

from __future__ import annotations

import pytest

from local_kubernetes.kubectl import Resource
from tests.e2e.conftest import MakeSite
from tests.support.site import Site, condition

pytestmark = pytest.mark.e2e

SHORT_DEADLINES = {
    "powerOnSeconds": 10,
    "netbootSeconds": 30,
    "installSeconds": 40,
    "reachableSeconds": 40,
}
"""So that a fault is found within the test's patience; healthy machines take a fraction of each."""
FAULTS = {
    "oxygen2": ("never-powers-on", "NeverPoweredOn"),
    "oxygen3": ("never-netboots", "NeverNetbooted"),
    "oxygen4": ("install-stalls", "InstallStalled"),
    "oxygen5": ("install-error", "InstallFailed"),
    "oxygen6": ("wrong-host-key", "HostKeyMismatch"),
}


@pytest.fixture(scope="module")
def site(make_shared_site: MakeSite) -> Site:
    return make_shared_site("faults", compute_nodes=8)


@pytest.fixture(scope="module")
def built(site: Site) -> Resource:
    for machine, (fault, _) in FAULTS.items():
        site.lab.fault(machine, fault)
    site.lab.fault("oxygen7", "slow")
    site.lab.fault("oxygen8", "dies-once", times=1)
    site.kubectl.apply(
        site.build_manifest(compute={"minReady": "3"}, deadlines=SHORT_DEADLINES, retries={"nodeAttempts": 2})
    )
    return site.wait_until_settled()


def groups(build: Resource) -> list[Resource]:
    return list(build["status"]["nodes"]["groups"])


@pytest.mark.parametrize(("machine", "reason"), [(machine, reason) for machine, (_, reason) in FAULTS.items()])
def test_fault_ends_in_its_own_reason(built: Resource, machine: str, reason: str) -> None:
    assert {group["hosts"]: group["reason"] for group in groups(built) if group["state"] == "Failed"}.get(
        machine
    ) == reason


def test_slow_and_once_dying_machines_come_up_with_the_healthy_one(built: Resource) -> None:
    assert condition(built, "Ready")["status"] == "True", built["status"]
    assert built["status"]["jobs"][0]["nodes"] == "oxygen[7-9]"


def test_missing_nodes_are_named_by_the_degraded_condition(built: Resource) -> None:
    degraded = condition(built, "Degraded")
    assert degraded["status"] == "True"
    assert "oxygen[2-6]" in degraded["message"] or all(name in degraded["message"] for name in FAULTS)


def test_repaired_machines_come_up_and_one_that_is_missing_fails_a_build_that_needs_all(
    site: Site, built: Resource
) -> None:
    for machine in FAULTS:
        if machine != "oxygen2":
            site.lab.repair(machine)
    site.kubectl.apply(
        site.build_manifest(
            compute={"minReady": "100%"}, deadlines=SHORT_DEADLINES, retries={"nodeAttempts": 1, "phaseAttempts": 1}
        )
    )
    build = site.wait_until_settled()
    ready = condition(build, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "TooFewNodes")
    assert {group["hosts"] for group in groups(build) if group["state"] == "Failed"} == {"oxygen2"}
    assert next(phase for phase in build["status"]["phases"] if phase["name"] == "Cleanup")["state"] == "Succeeded"

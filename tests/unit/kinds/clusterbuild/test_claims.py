"""No machine is ever owned by two builds, nor kept by one that doesn't need it."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.api.clusterbuild.resource import parse_cluster_build
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.wellknown import MACHINE_LEASE_PREFIX
from bessemer.engine.settings import parse_settings
from bessemer.errors import Invalid
from bessemer.kinds.clusterbuild.claims import compute_claims
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kube.protocol import LEASES
from tests.fakes.kubernetes import Crash
from tests.support.examples import examples
from tests.support.world import SYSTEM, World, manifest
from tests.unit.kinds.clusterbuild.scenes import FAILURE, FINAL

OTHER: dict[str, Any] = {
    "management": {"host": "neon1", "mac": "52:54:00:99:00:01", "address": "10.99.0.10"},
    "compute": {
        "hosts": "neon[2-3]",
        "addresses": "10.142.0.[2-3]",
        "macs": ["52:54:00:99:00:02", "52:54:00:99:00:03"],
    },
}
"""Machines that are none of the example's."""
SHARED = {
    "the management node's MAC address": {"management": {"mac": "52:54:00:77:00:01"}},
    "the management node's address": {"management": {"address": "10.77.0.10"}},
    "the management node's name": {"management": {"host": "oxygen1"}},
    "a node's MAC address": {"compute": {"macs": ["52:54:00:99:00:02", "52:54:00:8D:00:05"]}},
    "a node's address": {"compute": {"addresses": "10.142.0.2,10.141.0.5"}},
    "a node's name": {"compute": {"hosts": "neon2,oxygen5"}},
}
"""What another build has in common with the example."""


def merged(*changes: dict[str, Any]) -> dict[str, Any]:
    """Lay the fields of parts of a spec over each other."""
    found: dict[str, Any] = {}
    for change in changes:
        for part, fields in change.items():
            found[part] = found.get(part, {}) | fields
    return found


def read_spec(**changes: Any) -> ClusterBuildSpec:
    spec = ClusterBuildSpec.model_validate(manifest(**changes)["spec"])
    assert spec is not None
    return spec


def apply_elsewhere(world: World, name: str, **changes: Any) -> None:
    """Apply a build in another namespace, and look at it once."""
    raw = manifest(name, **changes)
    raw["spec"].pop("ssh", None)
    asyncio.run(world.kubernetes.create_object(CLUSTER_BUILDS, "other", raw))
    asyncio.run(world.controller.reconcile(("other", name), 0.0))


def conflict_elsewhere(world: World, name: str) -> str:
    conditions = world.kubernetes.objects["clusterbuilds", "other", name]["status"]["conditions"]
    found = next(one for one in conditions if one["type"] == "MachinesClaimed")
    return f"{found['status']} {found['reason']} {found.get('message')}"


def test_two_builds_never_own_one_machine(world: World) -> None:
    world.apply(manifest("first"))
    world.apply(manifest("second"))
    world.settle("first")
    for _ in range(3):
        world.step("second")
        world.run_pods()
    assert world.condition("MachinesClaimed", "second")[:2] == ("False", "HeldByAnotherBuild")
    assert "ClusterBuild first" in world.condition("MachinesClaimed", "second")[2]
    assert [name for name in world.started() if name.startswith("second")] == []
    world.delete("first")
    world.settle("first")
    world.settle("second")
    assert set(world.leases().values()) == {"lab/second"}
    assert world.condition("Ready", "second")[0] == "True"


@pytest.mark.parametrize("shared", SHARED.values(), ids=SHARED)
def test_builds_that_share_one_way_to_a_machine_share_the_machine(world: World, shared: dict[str, Any]) -> None:
    world.apply(manifest("first"))
    world.step("first")
    world.apply(manifest("second", **merged(OTHER, shared)))
    world.step("second")
    assert world.condition("MachinesClaimed", "second")[:2] == ("False", "HeldByAnotherBuild")
    assert set(world.leases().values()) == {"lab/first"}, "a build that waits holds nothing that others could use"


def test_builds_that_share_no_machine_do_not_wait_for_each_other(world: World) -> None:
    world.apply(manifest("first"))
    world.step("first")
    world.apply(manifest("second", **OTHER))
    world.step("second")
    assert world.condition("MachinesClaimed", "second")[:2] == ("True", "Claimed")


def test_one_machine_by_mac_address_or_by_its_address_is_one(world: World) -> None:
    world.apply(manifest("first"))
    world.step("first")
    installed = {"provision": False, "mac": None, "install": None, "host": "neon1"}
    key = {
        "address": "rack",
        "hostKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    }
    world.apply(manifest("second", management=installed | {"ssh": key}, compute=OTHER["compute"]))
    world.step("second")
    assert world.condition("MachinesClaimed", "second")[:2] == ("False", "HeldByAnotherBuild")


def test_a_build_of_another_namespace_is_not_named(world: World) -> None:
    world.apply(manifest("first"))
    world.step("first")
    apply_elsewhere(world, "second")
    assert conflict_elsewhere(world, "second").startswith("False HeldByAnotherBuild ")
    assert "another build" in conflict_elsewhere(world, "second")
    assert "first" not in conflict_elsewhere(world, "second")
    assert "lab" not in conflict_elsewhere(world, "second")


@pytest.mark.parametrize("alias", ["10.77.1", "0x0a4d0001", "172818433", "012.77.0.1", "10.0115.0.1"])
def test_an_address_of_a_power_server_is_one_however_it_is_written(alias: str) -> None:
    powers = [
        {
            claim.lease
            for claim in compute_claims(read_spec(power={"powerman": {"address": server}}))
            if "power" in claim.lease
        }
        for server in ("10.77.0.1", alias, "10.77.0.2")
    ]
    assert powers[0] == powers[1]
    assert not powers[0] & powers[2]


@pytest.mark.parametrize("alias", ["RACK", "rack.svc", "rack.svc.cluster.local"])
def test_a_power_server_is_the_same_however_it_is_written(world: World, alias: str) -> None:
    world.apply(manifest("first"))
    world.step("first")
    power = {"power": {"powerman": {"address": alias, "port": 7}}}
    world.apply(manifest("second", **merged(OTHER, {"compute": {"hosts": "neon2,oxygen5"}}, power)))
    world.step("second")
    assert world.condition("MachinesClaimed", "second")[:2] == ("False", "HeldByAnotherBuild")


def test_addresses_of_a_network_that_several_clusters_have_are_not_claimed() -> None:
    claims = compute_claims(read_spec(), (IPv4Network("10.141.0.0/16"),))
    assert [claim.what for claim in claims if claim.what.startswith("address")] == ["address 10.77.0.10"]
    settings = {f"BESSEMER_{name}": "x" for name in ("IMAGE", "NAMESPACE", "IDENTITY")}
    networks = parse_settings({**settings, "BESSEMER_REPEATED_NETWORKS": "10.141.0.0/16, 10.142.0.0/16"})
    assert networks.repeated_compute_networks == (IPv4Network("10.141.0.0/16"), IPv4Network("10.142.0.0/16"))
    with pytest.raises(Invalid, match="BESSEMER_REPEATED_NETWORKS must be IPv4 networks"):
        parse_settings({**settings, "BESSEMER_REPEATED_NETWORKS": "10.141.0.1/16"})


@pytest.mark.parametrize("field", ["hosts", "addresses"])
def test_a_list_that_cannot_be_read_claims_nothing_and_is_no_error(field: str) -> None:
    spec = read_spec()
    broken = spec.model_copy(update={"compute": spec.compute.model_copy(update={field: "a[1-"})})
    assert {claim.lease for claim in compute_claims(broken)} < {claim.lease for claim in compute_claims(spec)}


@settings(max_examples=examples(40), deadline=None)
@given(crash=st.integers(0, 60), after=st.booleans(), order=st.permutations(["first", "second", "third"]))
def test_claims_are_all_or_none_wherever_the_operator_dies(crash: int, after: bool, order: list[str]) -> None:
    world = World()
    world.apply(manifest("first", compute={**OTHER["compute"], "hosts": "neon2,oxygen5"}))
    world.apply(manifest("second"))
    world.apply(manifest("third", **OTHER))
    world.kubernetes.crash_at, world.kubernetes.crash_after_effect = crash, after
    for name in order * 3:
        try:
            world.step(name)
        except Crash:
            world.restart()
    world.kubernetes.crash_at = None
    for name in order * 3:
        world.step(name)
    held: dict[str, set[str]] = {}
    for lease, holder in world.leases().items():
        held.setdefault(holder.removeprefix("lab/"), set()).add(lease)
    for name, leases in held.items():
        assert leases == {claim.lease for claim in compute_claims(world.build(name).spec)}  # type: ignore[arg-type]  # a spec that can be read
    assert "first" in held or {"second", "third"} <= set(held), "one of those that want the same gets on"


def test_leases_of_an_older_bessemer_are_kept_and_the_missing_ones_added(world: World) -> None:
    world.apply(manifest("first"))
    world.settle("first")
    everything = world.leases()
    for name in list(everything):
        if not name.startswith((f"{MACHINE_LEASE_PREFIX}52-54-00-77", f"{MACHINE_LEASE_PREFIX}52-54-00-8d")):
            del world.kubernetes.objects["leases", SYSTEM, name]
    world.step("first")
    assert world.leases() == everything
    assert world.condition("MachinesClaimed", "first")[:2] == ("True", "Claimed")


def test_a_settled_build_has_its_machines_again_after_the_operator_was_reinstalled(world: World) -> None:
    world.apply(manifest("first"))
    world.settle("first")
    everything = world.leases()
    for name in everything:
        del world.kubernetes.objects["leases", SYSTEM, name]
    world.step("first")
    assert world.leases() == everything


def test_a_build_that_backs_off_has_its_machines_again_before_its_next_attempt(world: World) -> None:
    world.results["Preflight"] = FAILURE
    world.apply(manifest("first", retries={"backOffSeconds": 600}))
    world.step("first")
    world.run_pods()
    world.step("first")
    everything = world.leases()
    for name in everything:
        del world.kubernetes.objects["leases", SYSTEM, name]
    world.step("first")
    assert world.leases() == everything
    assert world.condition("Progressing", "first")[1] == "BackingOff"
    assert world.started() == ["first-preflight-1"]


def test_a_ready_build_whose_machines_were_taken_meanwhile_says_so_and_stays_as_it_is(world: World) -> None:
    world.apply(manifest("first"))
    world.settle("first")
    for name in world.leases():
        del world.kubernetes.objects["leases", SYSTEM, name]
    world.apply(manifest("second"))
    world.step("second")
    world.step("first")
    assert world.condition("MachinesClaimed", "first")[:2] == ("False", "HeldByAnotherBuild")
    assert world.condition("Ready", "first")[0] == "True"
    assert set(world.leases().values()) == {"lab/second"}


def test_the_machines_of_a_build_that_vanished_are_taken_over(world: World) -> None:
    world.apply(manifest("first"))
    world.settle("first")
    world.vanish("first")
    assert set(world.leases().values()) == {"lab/first"}
    world.apply(manifest("second"))
    world.settle("second")
    assert set(world.leases().values()) == {"lab/second"}
    assert world.condition("Ready", "second")[0] == "True"


def test_the_machines_of_a_build_that_is_seen_to_vanish_are_released_at_once(world: World) -> None:
    world.apply(manifest("first"))
    world.settle("first")
    world.apply(manifest("second", **OTHER))
    world.step("second")
    world.vanish("first")
    world.step("first")
    assert set(world.leases().values()) == {"lab/second"}


def test_a_build_that_failed_before_it_touched_a_machine_holds_none(world: World) -> None:
    world.results["Preflight"] = FINAL
    world.apply(manifest())
    world.settle()
    assert world.leases() == {}


def test_a_waiting_build_costs_no_writes(world: World) -> None:
    world.apply(manifest("first"))
    world.step("first")
    world.apply(manifest("second"))
    world.step("second")
    world.kubernetes.calls.clear()
    world.step("second")
    assert [call for call in world.kubernetes.calls if call[1] == LEASES.plural and call[0] != "list"] == []


def test_machine_leases_say_in_words_what_they_stand_for(world: World) -> None:
    world.apply(manifest("first"))
    world.step("first")
    words = {
        raw["metadata"]["annotations"]["bessemer.dev/machine"]
        for (plural, _, _), raw in world.kubernetes.objects.items()
        if plural == "leases"
    }
    assert {"MAC address 52:54:00:77:00:01", "address 10.77.0.10", "oxygen1 of the power server rack"} <= words
    assert parse_cluster_build(world.kubernetes.objects["clusterbuilds", "lab", "first"]).spec is not None

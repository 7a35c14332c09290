"""No machine is ever owned by two builds, nor kept by one that doesn't need it."""

from __future__ import annotations

from tests.support.world import World, manifest
from tests.unit.clusterbuild.scenes import FINAL


def test_two_builds_never_own_one_machine(world: World) -> None:
    world.apply(manifest("first"))
    world.apply(manifest("second"))
    world.settle("first")
    for _ in range(3):
        world.step("second")
        world.run_pods()
    assert world.condition("MachinesClaimed", "second")[:2] == ("False", "HeldByAnotherBuild")
    assert "lab/first" in world.condition("MachinesClaimed", "second")[2]
    assert [name for name in world.started() if name.startswith("second")] == []
    world.delete("first")
    world.settle("first")
    world.settle("second")
    assert set(world.leases().values()) == {"lab/second"}
    assert world.condition("Ready", "second")[0] == "True"


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
    world.apply(manifest("second", management={"mac": "52:54:00:77:00:99"}, compute={"macs": ["52:54:00:77:00:98"]}))
    world.step("second")
    world.vanish("first")
    world.step("first")
    assert set(world.leases().values()) == {"lab/second"}


def test_a_build_that_failed_before_it_touched_a_machine_holds_none(world: World) -> None:
    world.results["Preflight"] = FINAL
    world.apply(manifest())
    world.settle()
    assert world.leases() == {}

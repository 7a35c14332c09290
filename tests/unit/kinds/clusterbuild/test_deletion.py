"""Deleting a build is always possible, and Cleanup's own failure hides nothing."""

from __future__ import annotations

from bessemer.engine.boundary import NEVER
from bessemer.kube.protocol import Kind, Object, Refused
from tests.support.world import NAMESPACE, World, manifest
from tests.unit.kinds.clusterbuild.scenes import FAILURE, FINAL, input_of


def test_a_deleted_build_stops_its_phase_cleans_up_and_lets_go_of_everything(world: World) -> None:
    world.apply(manifest(onDelete="PowerOff"))
    world.step()
    world.run_pods()
    world.step()
    world.set_pod("oxygen-boot-management-1", "Running")
    world.delete()
    for _ in range(2):
        world.step()
        assert world.exists()
    world.run_pods()
    world.step()
    assert input_of(world, "oxygen-cleanup-1")["powerOff"] is True
    world.settle()
    assert not world.exists()
    assert world.leases() == {}
    assert world.step() == NEVER
    assert world.pods() == {}, "none of our finalizers may hold a pod of a build that is gone"


def test_a_ready_build_that_is_kept_goes_at_once(world: World) -> None:
    world.apply(manifest())
    world.settle()
    world.delete()
    world.step()
    assert not world.exists()


def test_a_build_that_was_never_started_goes_without_touching_a_machine(world: World) -> None:
    world.apply(manifest(onDelete="PowerOff"))
    world.step()
    world.delete()
    world.settle()
    assert world.started() == ["oxygen-preflight-1"]
    assert not world.exists()


def test_deletion_goes_on_where_cleanup_fails_and_says_so(world: World) -> None:
    world.results["Cleanup"] = FAILURE
    world.apply(manifest(retries={"phaseAttempts": 2, "backOffSeconds": 1}, onDelete="PowerOff"))
    for _ in range(2):
        world.step()
        world.run_pods()
    world.delete()
    world.settle()
    assert not world.exists()
    assert ("Warning", "CleanupAbandoned") in {event[:2] for event in world.events()}


def test_deletion_ends_at_its_deadline_whatever_hangs(world: World) -> None:
    world.apply(manifest(onDelete="PowerOff"))
    for _ in range(2):
        world.step()
        world.run_pods()
    world.delete()
    world.step()
    world.pass_time(world.deps.settings.deletion_seconds)
    world.step()
    assert not world.exists()


def test_deletion_is_possible_with_a_spec_that_cannot_be_read(world: World) -> None:
    world.apply(manifest())
    for _ in range(2):
        world.step()
        world.run_pods()
    world.kubernetes.edit("clusterbuilds", NAMESPACE, "oxygen", {"spec": {"compute": None}})
    world.step()
    assert world.condition("Ready")[1] == "InvalidSpec"
    assert "compute: Field required" in world.condition("Ready")[2]
    world.delete()
    world.step()
    assert not world.exists()


def test_deletion_goes_on_in_a_namespace_that_is_being_deleted(world: World) -> None:
    def refuse(kind: Kind, _: Object) -> Refused | None:
        terminating = Refused("NamespaceTerminating", "namespace lab is being terminated")
        return terminating if kind.plural in ("pods", "configmaps", "events") else None

    world.apply(manifest(onDelete="PowerOff"))
    for _ in range(2):
        world.step()
        world.run_pods()
    world.kubernetes.refuse = refuse
    world.delete()
    world.step()
    assert not world.exists()


def test_a_failing_cleanup_does_not_hide_why_the_build_failed(world: World) -> None:
    world.results |= {"BootManagement": FINAL, "Cleanup": FINAL}
    world.apply(manifest())
    world.settle()
    assert world.condition("Ready")[:2] == ("False", "Wrong")
    assert world.condition("CleanedUp")[:2] == ("False", "Wrong")

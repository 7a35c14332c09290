"""Stateless machines keep what their next boot needs, exactly as long as they may."""

from __future__ import annotations

from tests.support.world import World, manifest
from tests.unit.kinds.clusterbuild.scenes import FAILURE, FINAL, STATELESS, input_of


def test_stateless_nodes_keep_their_boot_entries_after_success_and_lose_them_on_deletion(world: World) -> None:
    world.apply(manifest(compute=STATELESS))
    world.settle()
    assert input_of(world, "oxygen-cleanup-1")["keepPersistent"] is True
    world.delete()
    world.step()
    assert input_of(world, "oxygen-cleanup-2")["keepPersistent"] is False


def test_a_failed_cleanup_of_stateless_nodes_takes_their_entries_and_a_retry_stages_them_again(world: World) -> None:
    world.results["Verify"] = FINAL
    world.apply(manifest(compute=STATELESS))
    world.settle()
    assert input_of(world, "oxygen-cleanup-1")["keepPersistent"] is False
    del world.results["Verify"]
    world.annotate("bessemer.dev/retry", "now")
    world.settle()
    assert world.started().count("oxygen-boot-compute-2") == 1
    assert "oxygen-boot-management-2" not in world.started()
    assert world.condition("Ready")[0] == "True"
    assert input_of(world, "oxygen-cleanup-2")["keepPersistent"] is True


def test_nodes_with_disks_are_not_booted_again_by_a_retry_after_a_failure(world: World) -> None:
    world.results["Verify"] = FINAL
    world.apply(manifest())
    world.settle()
    del world.results["Verify"]
    world.annotate("bessemer.dev/retry", "now")
    world.settle()
    assert world.condition("Ready")[0] == "True"
    assert "oxygen-boot-compute-2" not in world.started()


def test_an_abort_that_is_taken_back_stages_stateless_nodes_again(world: World) -> None:
    world.results["Verify"] = FAILURE
    world.apply(manifest(compute=STATELESS))
    while "oxygen-verify-1" not in world.started():
        world.step()
        world.run_pods()
    world.annotate("bessemer.dev/abort", "now")
    world.settle()
    assert input_of(world, "oxygen-cleanup-1")["keepPersistent"] is False
    world.results.clear()
    world.annotate("bessemer.dev/abort", None)
    world.settle()
    assert "oxygen-boot-compute-2" in world.started()
    assert world.condition("Ready")[0] == "True"

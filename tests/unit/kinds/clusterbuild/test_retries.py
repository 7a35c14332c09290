"""What fails is tried again: within its budget, with growing waits, and when the user says so."""

from __future__ import annotations

import pytest

from bessemer.api.phase_contract import PhaseName
from tests.support.world import NAMESPACE, World, manifest
from tests.unit.kinds.clusterbuild.scenes import FAILURE, FINAL, INSTALLED


def test_a_failing_phase_is_tried_again_within_its_budget_with_growing_waits(world: World) -> None:
    world.results["BootManagement"] = FAILURE
    world.apply(manifest(retries={"phaseAttempts": 3, "backOffSeconds": 4, "maxBackOffSeconds": 60}))
    world.settle()
    assert [name for name in world.started() if "boot-management" in name] == [
        f"oxygen-boot-management-{attempt}" for attempt in (1, 2, 3)
    ]
    assert world.condition("Ready")[:2] == ("False", "Broken")
    assert world.condition("CleanedUp")[0] == "True"
    warnings = [event for event in world.events() if event[0] == "Warning" and event[1] == "Broken"]
    assert sum("attempt" in message for _, _, message in warnings) == 3


def test_the_next_attempt_waits_for_its_back_off(world: World) -> None:
    world.results["Preflight"] = FAILURE
    world.apply(manifest(retries={"backOffSeconds": 30}))
    world.step()
    world.run_pods()
    assert world.step() == pytest.approx(30)
    assert world.condition("Progressing")[1] == "BackingOff"
    world.pass_time(29)
    world.step()
    assert world.started() == ["oxygen-preflight-1"]
    world.pass_time(1)
    world.step()
    assert world.started() == ["oxygen-preflight-1", "oxygen-preflight-2"]


def test_a_failure_that_no_retry_can_cure_ends_the_build_at_once(world: World) -> None:
    world.results["Preflight"] = FINAL
    world.apply(manifest())
    world.settle()
    assert world.started() == ["oxygen-preflight-1"]
    assert world.condition("Ready") == ("False", "Wrong", "Preflight: the spec is wrong")
    assert world.build().status.phase_status(PhaseName.CLEANUP).state == "Skipped"


def test_the_retry_annotation_renews_the_budget_once(world: World) -> None:
    world.results["Preflight"] = FINAL
    world.apply(manifest())
    world.settle()
    world.annotate("bessemer.dev/retry", "1")
    world.settle()
    assert world.started() == ["oxygen-preflight-1", "oxygen-preflight-2"]
    world.results.clear()
    world.annotate("bessemer.dev/retry", "2")
    world.settle()
    assert world.condition("Ready")[0] == "True"


def test_retry_gives_the_missing_nodes_of_a_degraded_build_another_chance(world: World) -> None:
    world.results["BootCompute"] = INSTALLED
    world.apply(manifest())
    world.settle()
    assert world.condition("Degraded")[:2] == ("True", "NodesFailed")
    assert "oxygen5: NeverNetbooted" in world.condition("Degraded")[2]
    assert world.build().status.nodes.failed == 1
    world.results["BootCompute"] = {**INSTALLED, "nodes": [{"hosts": "oxygen[2-5]", "state": "Installed"}]}
    world.annotate("bessemer.dev/retry", "now")
    world.settle()
    assert "oxygen-boot-compute-2" in world.started()
    assert "oxygen-boot-management-2" not in world.started()
    assert world.condition("Degraded")[0] == "False"
    assert world.build().status.nodes.ready == 4


def test_a_pod_lost_under_way_is_counted_and_repeated(world: World) -> None:
    world.apply(manifest(retries={"backOffSeconds": 0}))
    world.step()
    world.set_pod("oxygen-preflight-1", "Running")
    world.kubernetes.mark_deleted(world.pods()["oxygen-preflight-1"])
    world.step()
    assert world.started() == ["oxygen-preflight-1"], "the old pod may still be doing something"
    world.run_pods()
    world.step()
    assert world.started() == ["oxygen-preflight-1", "oxygen-preflight-2"]
    assert ("Warning", "PodLost") in {event[:2] for event in world.events()}
    assert world.build().status.phase_status(PhaseName.PREFLIGHT).failures == 1


def test_a_pod_removed_by_force_is_counted_and_repeated(world: World) -> None:
    world.apply(manifest(retries={"backOffSeconds": 0}))
    world.step()
    del world.kubernetes.objects["pods", NAMESPACE, "oxygen-preflight-1"]
    world.step()
    assert world.started() == ["oxygen-preflight-1", "oxygen-preflight-2"]

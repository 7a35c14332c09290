"""A change of the spec runs what it matters to, and nothing else."""

from __future__ import annotations

from tests.support.world import World, manifest
from tests.unit.kinds.clusterbuild.scenes import INSTALLED, input_of


def test_a_change_of_verify_runs_verify_and_cleanup_alone(world: World) -> None:
    world.apply(manifest())
    world.settle()
    world.apply(manifest(verify={"jobs": [{"name": "again", "script": "#!/bin/sh\nsrun hostname\n"}]}))
    world.settle()
    assert world.started()[7:] == ["oxygen-verify-2", "oxygen-cleanup-2"]
    assert world.build().status.observed_generation == 2


def test_a_new_node_is_booted_and_the_installed_ones_are_passed_over(world: World) -> None:
    world.results["BootCompute"] = {**INSTALLED, "nodes": [{"hosts": "oxygen[2-5]", "state": "Installed"}]}
    world.apply(manifest())
    world.settle()
    macs = [f"52:54:00:8d:00:0{n}" for n in range(2, 7)]
    compute = {"hosts": "oxygen[2-6]", "addresses": "10.141.0.[2-6]", "macs": macs}
    world.apply(manifest(compute=compute))
    world.settle()
    assert [name.removeprefix("oxygen-") for name in world.started()[7:]] == [
        "preflight-2", "configure-management-2", "boot-compute-2", "configure-services-2", "verify-2", "cleanup-2",
    ]  # fmt: skip
    groups = {group["hosts"]: group["state"] for group in input_of(world, "oxygen-boot-compute-2")["nodes"]}
    assert groups == {"oxygen[2-5]": "Ready", "oxygen6": "Pending"}


def test_a_node_whose_mac_address_changes_is_reinstalled(world: World) -> None:
    world.results["BootCompute"] = {**INSTALLED, "nodes": [{"hosts": "oxygen[2-5]", "state": "Installed"}]}
    world.apply(manifest())
    world.settle()
    macs = ["52:54:00:8d:00:02", "52:54:00:8d:00:03", "52:54:00:8d:00:04", "52:54:00:8d:00:ff"]
    world.apply(manifest(compute={"macs": macs}))
    world.settle()
    groups = {group["hosts"]: group["state"] for group in input_of(world, "oxygen-boot-compute-2")["nodes"]}
    assert groups == {"oxygen[2-4]": "Ready", "oxygen5": "Pending"}
    assert "machine-52-54-00-8d-00-05" not in world.leases()


def test_a_node_that_left_the_spec_is_removed_from_slurm_and_released(world: World) -> None:
    world.results["BootCompute"] = {**INSTALLED, "nodes": [{"hosts": "oxygen[2-5]", "state": "Installed"}]}
    world.apply(manifest())
    world.settle()
    macs = ["52:54:00:8d:00:02", "52:54:00:8d:00:03", "52:54:00:8d:00:04"]
    world.apply(manifest(compute={"hosts": "oxygen[2-4]", "addresses": "10.141.0.[2-4]", "macs": macs}))
    world.settle()
    assert input_of(world, "oxygen-configure-management-2")["removeHosts"] == "oxygen5"
    assert "removeHosts" not in input_of(world, "oxygen-configure-services-2")
    assert len(world.leases()) == 3 * 4  # by MAC address, address and name


def test_a_spec_change_under_way_supersedes_the_running_phase_at_no_cost(world: World) -> None:
    world.apply(manifest())
    world.step()
    world.run_pods()
    world.step()
    world.set_pod("oxygen-boot-management-1", "Running")
    world.apply(manifest(management={"address": "10.77.0.11"}))
    world.settle()
    assert world.started()[:4] == [
        "oxygen-preflight-1", "oxygen-boot-management-1", "oxygen-preflight-2", "oxygen-boot-management-2",
    ]  # fmt: skip
    assert ("Warning", "Superseded") in {event[:2] for event in world.events()}
    assert world.condition("Ready")[0] == "True"

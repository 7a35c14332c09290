"""The reconcile against a Kubernetes in memory: whole builds, and the operator dying at every call of them."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from bessemer.kube.client import Kind, Object, Refused
from bessemer.phases.report import PhaseName
from tests.support.world import NAMESPACE, World, manifest

ALL_PODS = [
    "oxygen-preflight-1",
    "oxygen-boot-management-1",
    "oxygen-configure-management-1",
    "oxygen-boot-compute-1",
    "oxygen-configure-services-1",
    "oxygen-verify-1",
    "oxygen-cleanup-1",
]
FAILURE = {"succeeded": False, "reason": "Broken", "message": "it broke", "retryable": True}
FINAL = {"succeeded": False, "reason": "Wrong", "message": "the spec is wrong", "retryable": False}
INSTALLED = {
    "succeeded": True,
    "reason": "Succeeded",
    "nodes": [
        {"hosts": "oxygen[2-4]", "state": "Installed"},
        {"hosts": "oxygen5", "state": "Failed", "reason": "NeverNetbooted", "message": "no request for a kernel"},
    ],
}

STATELESS = {"install": {"method": "Stateless", "image": "http://10.77.0.1/images/compute.squashfs"}}


@pytest.fixture
def world() -> World:
    return World()


def input_of(world: World, pod: str) -> Object:
    data = world.kubernetes.objects["configmaps", NAMESPACE, pod]["data"]
    parsed: Object = json.loads(data["input.json"])
    return parsed


def test_a_build_runs_every_phase_once_and_is_ready(world: World) -> None:
    world.apply(manifest())
    world.settle()
    assert world.started() == ALL_PODS
    assert world.condition("Ready")[:2] == ("True", "Verified")
    status = world.build().status
    assert (status.phase, status.nodes.desired, status.observed_generation) == ("Ready", 4, 1)
    assert all(pod["metadata"]["finalizers"] == [] for pod in world.pods().values())


def test_every_condition_is_there_after_the_first_pass(world: World) -> None:
    world.apply(manifest())
    world.step()
    types = {condition.type for condition in world.build().status.conditions}
    assert types == {
        "Ready", "Progressing", "Degraded", "Paused", "MachinesClaimed", "Deleting", "PreflightPassed",
        "ManagementBooted", "ManagementConfigured", "NodesBooted", "ServicesConfigured", "JobsVerified", "CleanedUp",
    }  # fmt: skip


def test_reconciling_a_ready_build_writes_nothing(world: World) -> None:
    world.apply(manifest())
    world.settle()
    world.kubernetes.calls.clear()
    world.pass_time(300)
    world.step()
    assert {verb for verb, _, _ in world.kubernetes.calls} <= {"get", "list"}


@pytest.mark.parametrize("after_effect", [False, True])
def test_no_attempt_runs_twice_and_none_is_lost_wherever_the_operator_dies(after_effect: bool) -> None:
    """Each pass of a whole build is cut off at each of its calls, once before and once after the call's effect."""
    crashes = 0
    for call in range(40):
        world = World()
        world.apply(manifest())
        crashed_here = 0
        for _ in range(60):
            crashed_here += world.crash_once(call, after_effect=after_effect)
            world.step()
            world.step()
            world.run_pods()
            world.pass_time(1)
            if world.build().status.phase == "Ready":
                break
        assert world.started() == ALL_PODS, f"killed at call {call} of each pass"
        assert [phase.attempt for phase in world.build().status.phases] == [1] * 7
        assert world.condition("Ready")[0] == "True"
        crashes += crashed_here
        if crashed_here == 0:
            break
    assert crashes > 40, "the test must have killed the operator at many places"


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_pod_that_ends_and_is_deleted_while_the_operator_is_dead_still_counts(after_effect: bool) -> None:
    for call in range(20):
        world = World()
        world.apply(manifest())
        world.crash_once(call, after_effect=after_effect)
        for name, raw in world.pods().items():
            world.set_pod(name, "Succeeded")
            world.kubernetes.mark_deleted(raw)
        world.settle()
        counts = Counter(world.started())
        assert counts["oxygen-preflight-1"] == 1
        assert "oxygen-preflight-2" not in counts


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


def test_a_node_whose_mac_address_changes_is_installed_anew(world: World) -> None:
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
    assert len(world.leases()) == 4


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


def test_a_refused_pod_is_shown_and_started_when_the_cause_is_gone(world: World) -> None:
    def refuse(kind: Kind, _: Object) -> Refused | None:
        return Refused("Forbidden", "exceeded quota: pods=0") if kind.plural == "pods" else None

    world.kubernetes.refuse = refuse
    world.apply(manifest())
    wake = world.step()
    assert wake is not None
    assert wake <= 5
    assert world.condition("Progressing") == ("True", "QuotaExceeded", "Preflight: exceeded quota: pods=0")
    assert ("Warning", "QuotaExceeded") in {event[:2] for event in world.events()}
    world.kubernetes.refuse = lambda _kind, _body: None
    world.settle()
    assert world.started() == ALL_PODS


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"conditions": [{"type": "PodScheduled", "reason": "Unschedulable", "message": "no node"}]}, "Unschedulable"),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]},
            "ErrImagePull",
        ),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "CreateContainerConfigError", "message": "no"}}}]},
            "CreateContainerConfigError",
        ),
    ],
)
def test_a_pod_that_does_not_start_is_shown_with_its_reason(world: World, status: Object, reason: str) -> None:
    world.apply(manifest())
    world.step()
    where = {} if reason == "Unschedulable" else {"spec": {"nodeName": "node1"}}
    world.kubernetes.edit("pods", NAMESPACE, "oxygen-preflight-1", {"status": {"phase": "Pending", **status}, **where})
    wake = world.step()
    assert wake is not None
    assert wake <= 5
    assert world.condition("Progressing")[:2] == ("True", reason)
    assert ("Warning", reason) in {event[:2] for event in world.events()}
    world.settle()
    assert world.started() == ALL_PODS


def test_pause_lets_the_running_phase_end_and_starts_no_other(world: World) -> None:
    world.apply(manifest())
    world.step()
    world.annotate("bessemer.dev/pause", "true")
    world.settle()
    assert world.started() == ["oxygen-preflight-1"]
    assert world.build().status.phase_status(PhaseName.PREFLIGHT).state == "Succeeded"
    assert world.condition("Paused")[0] == "True"
    assert world.condition("Progressing")[:2] == ("False", "Paused")
    world.annotate("bessemer.dev/pause", None)
    world.settle()
    assert world.started() == ALL_PODS


def test_abort_stops_the_phase_cleans_up_and_rests_until_it_is_taken_back(world: World) -> None:
    world.apply(manifest())
    for _ in range(2):
        world.step()
        world.run_pods()
        world.pass_time(1)
    world.step()
    assert world.started()[-1] == "oxygen-configure-management-1"
    world.set_pod("oxygen-configure-management-1", "Running")
    world.annotate("bessemer.dev/abort", "true")
    world.settle()
    assert world.started()[3:] == ["oxygen-cleanup-1"]
    assert world.condition("Ready")[:2] == ("False", "Aborted")
    assert world.build().status.phase_status(PhaseName.CONFIGURE_MANAGEMENT).reason == "Aborted"
    assert world.leases() == {}
    world.annotate("bessemer.dev/abort", None)
    world.settle()
    assert world.started()[4] == "oxygen-configure-management-2"
    assert world.condition("Ready")[0] == "True"


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


def test_management_that_is_installed_already_is_not_booted(world: World) -> None:
    ssh = {"address": "rack", "port": 2201, "hostKey": "ssh-ed25519 AAAA"}
    world.apply(manifest(management={"provision": False, "ssh": ssh}))
    world.settle()
    assert "oxygen-boot-management-1" not in world.started()
    assert world.condition("ManagementBooted")[:2] == ("True", "Skipped")


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
    world.step()
    assert world.pods() == {}, "no finalizer of ours may hold a pod of a build that is gone"


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


def test_the_secret_is_made_once_and_without_a_key_where_the_user_gave_one(world: World) -> None:
    world.apply(manifest())
    world.settle()
    data = world.kubernetes.objects["secrets", NAMESPACE, "oxygen-bessemer"]["data"]
    assert set(data) == {"seed", "progress-token"}
    assert world.build().status.ssh_public_key is None


def test_the_public_half_of_a_key_that_we_made_stands_in_the_status(world: World) -> None:
    world.apply(manifest(ssh=None))
    world.settle()
    assert (world.build().status.ssh_public_key or "").startswith("ssh-ed25519 ")


@pytest.mark.parametrize("data", [None, {"another": "a2V5"}])
def test_a_missing_login_key_is_named_and_its_coming_lets_the_build_go_on(
    world: World, data: dict[str, str] | None
) -> None:
    secret = world.kubernetes.objects.pop(("secrets", NAMESPACE, "oxygen-ssh"))
    if data is not None:
        world.kubernetes.objects["secrets", NAMESPACE, "oxygen-ssh"] = {**secret, "data": data}
    world.apply(manifest())
    wake = world.step()
    assert wake is not None
    assert wake <= 5
    assert world.condition("Progressing")[1] == "SecretMissing"
    assert "Secret oxygen-ssh (spec.ssh.privateKeySecret)" in world.condition("Progressing")[2]
    world.kubernetes.objects["secrets", NAMESPACE, "oxygen-ssh"] = secret
    world.settle()
    assert world.condition("Ready")[0] == "True"


def test_a_build_that_failed_before_it_touched_a_machine_holds_none(world: World) -> None:
    world.results["Preflight"] = FINAL
    world.apply(manifest())
    world.settle()
    assert world.leases() == {}


def test_only_a_few_finished_pods_of_a_phase_are_kept(world: World) -> None:
    world.results["Preflight"] = FAILURE
    world.apply(manifest(retries={"phaseAttempts": 8, "backOffSeconds": 0}))
    world.settle()
    assert len(world.started()) == 8
    assert sorted(world.pods()) == [f"oxygen-preflight-{attempt}" for attempt in (6, 7, 8)]


def test_the_pods_of_an_earlier_build_of_the_name_are_let_go_and_not_taken_for_ours(world: World) -> None:
    world.apply(manifest())
    world.step()
    world.vanish()
    assert "oxygen-preflight-1" in world.pods()
    world.apply(manifest())
    world.step()
    assert world.condition("Progressing")[0] == "True"
    assert world.build().status.phase_status(PhaseName.PREFLIGHT).attempt == 0
    world.settle()
    assert world.condition("Ready")[0] == "True"


def test_secrets_stand_in_no_object_but_the_secret(world: World) -> None:
    world.apply(manifest(ssh=None))
    world.settle()
    secret = world.kubernetes.objects["secrets", NAMESPACE, "oxygen-bessemer"]["data"]
    for (plural, _, name), raw in world.kubernetes.objects.items():
        if plural != "secrets":
            text = json.dumps(raw)
            assert not any(value in text for value in secret.values()), f"{plural} {name}"

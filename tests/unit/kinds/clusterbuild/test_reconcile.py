"""The reconcile against a Kubernetes in memory: whole builds, and the operator dying at every call of them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from bessemer.api.phase_contract import PhaseName
from bessemer.kube.protocol import SECRETS, Kind, Object, Refused
from tests.support.examples import examples, spread
from tests.support.world import NAMESPACE, World, manifest
from tests.unit.kinds.clusterbuild.scenes import ALL_PODS, FAILURE


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
    for call in spread(range(40)):
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
    assert crashes > examples(40), "the test must have killed the operator at many places"


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_pod_that_ends_and_is_deleted_while_the_operator_is_dead_still_counts(after_effect: bool) -> None:
    for call in spread(range(20)):
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


def test_a_refused_pod_is_shown_and_started_when_the_cause_is_gone(world: World) -> None:
    def refuse(kind: Kind, _: Object) -> Refused | None:
        return Refused("QuotaExceeded", "exceeded quota: pods=0") if kind.plural == "pods" else None

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


def test_abort_stops_the_phase_cleans_up_and_is_settled_until_it_is_revoked(world: World) -> None:
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


def test_management_that_is_installed_already_is_not_booted(world: World) -> None:
    ssh = {"address": "rack", "port": 2201, "hostKey": "ssh-ed25519 AAAA"}
    world.apply(manifest(management={"provision": False, "ssh": ssh}))
    world.settle()
    assert "oxygen-boot-management-1" not in world.started()
    assert world.condition("ManagementBooted")[:2] == ("True", "Skipped")


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
    world.results["Preflight"] = {
        "succeeded": False, "reason": "PreflightFailed", "message": "Secret and hosts are wrong", "retryable": False,
    }  # fmt: skip
    world.apply(manifest())
    world.step()
    world.run_pods()
    wake = world.step()
    assert wake is not None
    assert wake <= 5
    assert world.condition("Ready")[1:] == ("PreflightFailed", "Preflight: Secret and hosts are wrong")
    assert world.leases() == {}
    world.pass_time(3600)
    world.step()
    assert world.started() == ["oxygen-preflight-1"]
    world.kubernetes.objects["secrets", NAMESPACE, "oxygen-ssh"] = secret
    del world.results["Preflight"]
    world.settle()
    assert world.condition("Ready")[0] == "True"
    assert world.started()[:3] == ["oxygen-preflight-1", "oxygen-preflight-2", "oxygen-boot-management-1"]


@pytest.mark.parametrize(
    ("data", "reason"), [({"ssh-privatekey": ""}, "SecretEmpty"), ({"ssh-privatekey": "*"}, "SecretBroken")]
)
def test_a_login_key_that_cannot_be_used_holds_the_phases_after_preflight(
    world: World, data: dict[str, str], reason: str
) -> None:
    world.apply(manifest())
    world.step()
    world.run_pods()
    world.kubernetes.edit("secrets", NAMESPACE, "oxygen-ssh", {"data": data})
    world.step()
    assert world.condition("Progressing")[1] == reason
    assert "spec.ssh.privateKeySecret" in world.condition("Progressing")[2]
    assert world.started() == ["oxygen-preflight-1"]


def test_a_secret_is_watched_as_long_as_a_build_waits_for_it(world: World) -> None:
    secret = world.kubernetes.objects.pop(("secrets", NAMESPACE, "oxygen-ssh"))
    world.apply(manifest())

    async def work() -> None:
        await world.controller.reconcile((NAMESPACE, "oxygen"), 0.0)
        await asyncio.sleep(0)
        assert list(world.watcher.open) == [(NAMESPACE, "oxygen-ssh")]
        world.kubernetes.objects["secrets", NAMESPACE, "oxygen-ssh"] = secret
        await world.controller.reconcile((NAMESPACE, "oxygen"), 0.0)
        await asyncio.sleep(0)
        assert world.watcher.open == {}
        await world.kind.close()

    asyncio.run(work())


def test_a_login_key_that_goes_after_preflight_starts_nothing_again(world: World) -> None:
    world.apply(manifest())
    world.settle()
    del world.kubernetes.objects["secrets", NAMESPACE, "oxygen-ssh"]
    assert world.step() is None
    assert world.condition("Ready")[0] == "True"
    assert world.condition("PreflightPassed")[0] == "True"
    assert world.started() == ALL_PODS


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


def test_the_login_of_the_playbooks_is_not_shown_to_a_host_that_its_secret_does_not_name(world: World) -> None:
    login = {"metadata": {"name": "git"}, "data": {"username": "bWU=", "password": "c2VjcmV0"}}
    asyncio.run(world.kubernetes.create_object(SECRETS, NAMESPACE, login))
    playbooks = {
        "repository": "https://evil.example.org/site.git",
        "commit": "0" * 40,
        "loginSecretName": "git",
        "management": "site.yml",
    }
    world.apply(manifest(configuration={"playbooks": playbooks}))
    world.step()
    assert world.condition("Progressing")[1] == "SecretNotForHost"
    assert "bessemer.dev/for=https://evil.example.org" in world.condition("Progressing")[2]
    assert world.pods() == {}
    annotations = {"bessemer.dev/for": "evil.example.org"}
    world.kubernetes.edit("secrets", NAMESPACE, "git", {"metadata": {"annotations": annotations}})
    world.settle()
    assert world.condition("Ready")[0] == "True"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("FailedMount", ("FailedMount", 'pod oxygen-preflight-1 is waiting (Starting): secret "s" not found')),
        ("Odd", ("PodNotStarted", 'pod oxygen-preflight-1 is waiting (Starting): Odd: secret "s" not found')),
    ],
)
def test_a_pod_that_waits_without_a_reason_is_told_in_the_words_of_its_events(
    world: World, reason: str, told: tuple[str, str]
) -> None:
    world.apply(manifest())
    for _ in range(6):
        world.step()
    (name,) = world.pods()
    world.kubernetes.edit("pods", NAMESPACE, name, {"spec": {"nodeName": "n"}, "status": {"phase": "Pending"}})
    world.kubernetes.objects["events", NAMESPACE, "e"] = {
        "metadata": {"name": "e", "uid": "e", "resourceVersion": "1"},
        "involvedObject": {"uid": world.pods()[name]["metadata"]["uid"]},
        "type": "Warning",
        "reason": reason,
        "message": 'secret "s"\nnot found\x1b[2J',
        "lastTimestamp": world.time.isoformat(),
    }
    world.pass_time(4)
    world.step()
    assert world.condition("Progressing")[1:] == told

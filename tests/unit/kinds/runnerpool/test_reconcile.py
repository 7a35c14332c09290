"""The reconcile of pools against Kubernetes and GitLab in memory."""

from __future__ import annotations

import asyncio
import base64
import tomllib
from datetime import timedelta
from typing import Any

import pytest

from bessemer.api.names import runner_system_id
from bessemer.engine import controller
from bessemer.engine import status as pace
from bessemer.errors import Retry
from bessemer.gitlab.protocol import GitLabUnavailable
from bessemer.kinds.runnerpool.facts import BLOCKED, RETRY_SECONDS
from bessemer.kinds.runnerpool.pods.cache import PodCache
from bessemer.kinds.runnerpool.runner.known import CHECK_SECONDS
from bessemer.kube.protocol import PODS, Kind
from tests.support.pool_world import KEY, PROJECT, PoolWorld

MANAGED = {"managed": {}, "tags": ["hpc"]}


def read_config(world: PoolWorld) -> dict[str, Any]:
    secret = world.kubernetes.objects["secrets", KEY[0], "lab-runner"]
    return tomllib.loads(base64.b64decode(secret["data"]["config.toml"]).decode())


async def test_pods_come_with_the_jobs_and_go_with_them(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    assert (world.condition("Ready"), world.condition("RunnerRegistered")) == (
        ("True", "Serving"),
        ("True", "Registered"),
    )
    assert world.pods() == {}
    world.queue(1001, 1002)
    await world.settle()
    jobs = {name: pod["metadata"]["annotations"]["bessemer.dev/job"] for name, pod in world.pods().items()}
    assert jobs == {"lab-runner-0": "1001", "lab-runner-1": "1002"}
    world.start_pods()
    uid = world.kubernetes.objects["runnerpools", *KEY]["metadata"]["uid"]
    world.gitlab.runners[1].managers = {runner_system_id(uid, 0), runner_system_id(uid, 1)}
    await world.settle()
    world.end_pod("lab-runner-0", 1002)
    world.end_pod("lab-runner-1", 1001)
    await world.settle()
    assert world.pods() == {}
    assert world.gitlab.runners[1].managers == set()
    assert len([name for kind, name in world.kubernetes.created if kind == "pods"]) == 2


async def test_a_runner_pod_has_no_rights_and_no_secret_in_its_manifest(world: PoolWorld) -> None:
    await world.apply(min=1)
    await world.settle()
    (pod,) = world.pods().values()
    assert "glrt-" not in str(pod)
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["terminationGracePeriodSeconds"] > 3600
    assert read_config(world)["runners"][0]["token"] == "glrt-given"


async def test_a_waiting_pod_is_sent_by_its_annotation(world: PoolWorld) -> None:
    await world.apply(min=1)
    await world.settle()
    world.start_pods()
    await world.settle()
    assert world.status()["idle"] == 1
    (pod,) = world.pods().values()
    assert "bessemer.dev/job" not in pod["metadata"]["annotations"]
    world.queue(7)
    await world.settle()
    (pod,) = world.pods().values()
    assert pod["metadata"]["annotations"]["bessemer.dev/job"] == "7"


async def test_a_refused_token_is_said_and_a_new_one_is_taken_without_a_restart(world: PoolWorld) -> None:
    await world.apply()
    await world.put_secret("runner", "glrt-old")
    await world.settle()
    assert world.condition("Ready") == ("False", "TokenRefused")
    await world.put_secret("runner", "glrt-given")
    world.pass_time(6)
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")


async def test_a_rotated_secret_is_taken_up_as_soon_as_it_is_heard_of(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.gitlab.runners[1].token = "glrt-new"
    world.woken.clear()
    await world.put_secret("runner", "glrt-new")
    assert world.woken == {KEY}
    await world.settle()
    assert read_config(world)["runners"][0]["token"] == "glrt-new"
    assert world.condition("Ready") == ("True", "Serving")


async def test_the_secrets_of_a_pool_are_watched_while_it_is_there(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    assert set(world.watcher.open) == {(KEY[0], name) for name in ("gitlab", "hook", "runner", "lab-runner")}
    await world.apply(runner=MANAGED | {"tokenSecret": None})
    await world.settle()
    assert set(world.watcher.open) == {(KEY[0], name) for name in ("gitlab", "hook", "lab-runner")}
    world.controller.objects.drop(KEY)
    await world.pass_over()
    await asyncio.sleep(0)
    assert world.watcher.open == {}


async def test_a_missing_secret_is_said_and_the_pool_goes_on_when_it_is_there(world: PoolWorld) -> None:
    await world.apply(runner={"tokenSecret": {"name": "later"}, "tags": ["hpc"]})
    await world.settle()
    assert world.condition("Ready") == ("False", "SecretMissing")
    await world.put_secret("later", "glrt-given")
    world.pass_time(6)
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")


async def test_without_the_access_token_it_names_a_pool_says_that_its_jobs_are_not_known(world: PoolWorld) -> None:
    gitlab = {"url": "http://gitlab.example", "scope": {"type": "Project", "path": PROJECT}}
    await world.apply(gitlab=gitlab | {"apiTokenSecret": {"name": "later"}}, min=1)
    await world.settle()
    assert world.condition("DemandKnown") == ("False", "SecretMissing")
    assert world.pods() == {}
    await world.put_secret("later", "glpat-given")
    world.pass_time(6)
    await world.settle()
    assert world.condition("DemandKnown") == ("True", "Polled")
    assert len(world.pods()) == 1


async def test_a_managed_runner_is_created_updated_rotated_and_deleted_with_the_pool(world: PoolWorld) -> None:
    del world.gitlab.runners[1]
    world.gitlab.expires_at = world.clock[0] + timedelta(days=3)
    await world.apply(runner=MANAGED)
    await world.settle()
    (runner,) = world.gitlab.runners.values()
    first = runner.token
    assert runner.request.tags == {"hpc"}
    await world.apply(runner=MANAGED | {"tags": ["hpc", "gpu"]})
    await world.settle()
    assert runner.request.tags == {"hpc", "gpu"}
    world.pass_time(2 * 86400 + 60)
    world.gitlab.expires_at = world.clock[0] + timedelta(days=3)
    await world.settle()
    assert runner.token != first
    assert read_config(world)["runners"][0]["token"] == runner.token
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.settle()
    assert world.gitlab.runners == {}
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


async def test_gitlab_away_for_a_while_changes_nothing_and_is_said(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.gitlab.error = GitLabUnavailable("503")
    world.queue(1)
    await world.settle()
    world.pass_time(601)
    await world.settle()
    assert world.condition("RunnerRegistered") == ("True", "Registered")
    assert world.condition("DemandKnown") == ("False", "GitLabUnavailable")


async def test_counts_are_written_when_they_have_been_wrong_for_a_second(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 100.0
    monkeypatch.setattr(pace, "SETTLE_SECONDS", 1.0)
    monkeypatch.setattr(controller, "monotonic", lambda: seconds)
    await world.apply()
    await world.settle()
    world.kubernetes.calls.clear()

    def count_writes() -> int:
        return sum(call[:2] == ("patch/status", "runnerpools") for call in world.kubernetes.calls)

    world.queue(1)
    await world.settle()
    world.start_pods()
    assert await world.step() <= 1.0  # type: ignore[operator]  # never None
    assert (len(world.pods()), count_writes()) == (1, 0)
    seconds += 1.0
    await world.settle()
    status = world.kubernetes.objects["runnerpools", *KEY]["status"]
    assert (status["running"], count_writes()) == (1, 1)


async def test_settings_that_can_not_be_are_said_and_what_has_ended_is_collected_all_the_same(world: PoolWorld) -> None:
    kubernetes = {"image": "debian"}
    await world.apply(executor={"type": "Kubernetes", "kubernetes": kubernetes}, min=1)
    await world.settle()
    world.start_pods()
    await world.settle()
    wrong = kubernetes | {"settings": {"pod_labels": "x"}}
    world.end_pod("lab-runner-0", 5)
    await world.apply(executor={"type": "Kubernetes", "kubernetes": wrong}, min=1)
    await world.settle()
    assert world.pods() == {}
    assert (world.condition("Ready"), world.status()["observedGeneration"]) == (("False", "InvalidSpec"), 2)
    right = kubernetes | {"settings": {"pod_labels": {"team": "x"}, "bearer_token": None}}
    await world.apply(executor={"type": "Kubernetes", "kubernetes": right}, min=1)
    await world.settle()
    assert (world.condition("Ready"), len(world.pods())) == (("True", "Serving"), 1)


async def test_pods_that_only_look_like_the_pools_keep_no_pass_from_being_made(world: PoolWorld) -> None:
    await world.apply(min=1)
    await world.settle()
    owner = world.pods()["lab-runner-0"]["metadata"]["ownerReferences"][0]
    labels = {"bessemer.dev/pool": "lab", "bessemer.dev/slot": "abc"}
    for name, owners in (("strange", []), ("lab-runner-1", [owner])):
        metadata = {"name": name, "labels": labels, "annotations": {"bessemer.dev/job": "nightly"}}
        await world.kubernetes.create_object(
            PODS, KEY[0], {"kind": "Pod", "metadata": metadata | {"ownerReferences": owners}}
        )
    world.memory.pods = PodCache()
    await world.apply(min=2)
    await world.settle()
    assert world.status()["replicas"] == 1
    assert world.condition("ScalingLimited") == ("True", "BackOff")  # the name of the second pod is taken
    del world.kubernetes.objects["pods", KEY[0], "lab-runner-1"], world.kubernetes.objects["pods", KEY[0], "strange"]
    world.pass_time(60)
    await world.settle()
    assert world.status()["replicas"] == 2
    assert world.events("PodLost") == []


async def test_a_token_that_was_rotated_is_taken_as_soon_as_a_pod_was_refused(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.pass_time(3)  # far less than Secrets are read again by themselves
    world.queue(1)
    await world.settle()
    world.start_pods()
    world.gitlab.runners[1].token = "glrt-new"
    fresh = {"token": base64.b64encode(b"glrt-new").decode()}
    world.kubernetes.edit("secrets", KEY[0], "runner", {"data": fresh})  # no watch tells it
    await world.settle()
    assert read_config(world)["runners"][0]["token"] == "glrt-given"
    world.end_pod("lab-runner-0", exit_code=1, reason="Error")
    await world.settle()
    assert read_config(world)["runners"][0]["token"] == "glrt-new"
    assert world.condition("RunnerRegistered") == ("True", "Registered")


async def test_a_binding_of_another_installation_is_reported_and_recreated_when_it_is_deleted(world: PoolWorld) -> None:
    kubernetes = {"type": "Kubernetes", "kubernetes": {"image": "debian"}}
    await world.apply(executor=kubernetes)
    await world.settle()
    binding = ("rolebindings", KEY[0], "lab-runner")
    world.kubernetes.objects[binding]["roleRef"]["name"] = "former-executor"
    world.pass_time(CHECK_SECONDS)
    await world.settle()
    assert world.condition("Ready") == ("False", "RoleOutdated")
    del world.kubernetes.objects[binding]
    world.pass_time(RETRY_SECONDS)
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.kubernetes.objects[binding]["roleRef"]["name"] == world.deps.settings.executor_role


async def test_a_foreign_pod_of_the_name_is_left_alone(world: PoolWorld) -> None:
    await world.apply(min=1)
    foreign = {"kind": "Pod", "metadata": {"name": "lab-runner-0"}}
    await world.kubernetes.create_object(Kind("", "v1", "pods"), KEY[0], foreign)
    await world.settle()
    assert world.condition("Ready") == ("False", "NameTaken")
    assert ("pods", KEY[0], "lab-runner-0") in world.kubernetes.objects


async def test_a_foreign_pod_of_the_name_of_one_slot_does_not_keep_the_pool_from_using_others(world: PoolWorld) -> None:
    for slot in (0, 1):
        foreign = {"kind": "Pod", "metadata": {"name": f"lab-runner-{slot}", "labels": {"bessemer.dev/slot": "x"}}}
        await world.kubernetes.create_object(Kind("", "v1", "pods"), KEY[0], foreign)
    await world.apply(min=1)
    for _ in range(3):
        await world.settle()
        world.pass_time(11)
    world.start_pods()
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")
    assert "bessemer.dev/pool" in world.pods()["lab-runner-2"]["metadata"]["labels"]
    world.pass_time(BLOCKED.total_seconds())
    await world.settle()
    assert world.memory.blocked == {}, "nothing is kept of it"


async def test_reconciling_an_idle_pool_asks_kubernetes_and_gitlab_for_nothing(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.kubernetes.calls.clear()
    world.gitlab.calls.clear()
    await world.settle()
    assert world.kubernetes.calls == []
    assert world.gitlab.calls == []


async def test_a_conflict_is_tried_again(world: PoolWorld) -> None:
    await world.apply()
    world.watch()
    world.kubernetes.edit("runnerpools", *KEY, {"metadata": {"labels": {"a": "b"}}})
    stale = world.deps.pools.get(KEY)
    assert stale is not None
    stale["metadata"]["resourceVersion"] = "0"
    with pytest.raises(Retry):
        await world.pass_over()


async def test_runners_of_a_pool_without_a_proxy_use_the_sites(world: PoolWorld) -> None:
    await world.change_settings(https_proxy="http://site:3128", no_proxy=".svc")
    await world.apply(min=1)
    await world.settle()
    (pod,) = world.pods().values()
    assert {"name": "HTTPS_PROXY", "value": "http://site:3128"} in pod["spec"]["containers"][0]["env"]
    secret = world.kubernetes.objects["secrets", KEY[0], "lab-runner"]
    assert "HTTPS_PROXY=http://site:3128" in base64.b64decode(secret["data"]["config.toml"]).decode()
    assert "proxy" not in world.kubernetes.objects["runnerpools", *KEY]["spec"]

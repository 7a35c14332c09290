"""The reconcile of pools against Kubernetes and GitLab in memory."""

from __future__ import annotations

import asyncio
import base64
import tomllib
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from bessemer.boundary import NEVER
from bessemer.errors import Retry
from bessemer.gitlab.protocol import GitLabUnavailable
from bessemer.kube.client import PODS, RESOURCE_QUOTAS, RUNNER_POOLS, Kind, Object, Refused
from bessemer.names import runner_system_id
from bessemer.runnerpool import reconcile as module
from bessemer.runnerpool import statuspace
from bessemer.runnerpool.facts import JobPodFact
from bessemer.runnerpool.known import CHECK_SECONDS, RETRY_SECONDS
from bessemer.runnerpool.pods import parse_runner_pod
from bessemer.runnerpool.quota import compute_want
from bessemer.runnerpool.reconcile import reconcile
from tests.support.pool_world import KEY, PROJECT, PoolWorld, manifest
from tests.unit.runnerpool.scenes import build_spec

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
    world.deps.pools.pop(KEY)
    await reconcile(world.deps, KEY, 0.0)
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


async def test_a_deleted_pool_has_its_runner_deleted_although_its_secrets_are_gone(world: PoolWorld) -> None:
    await world.apply(runner=MANAGED)
    await world.settle()
    for name in ("gitlab", "hook"):
        del world.kubernetes.objects["secrets", KEY[0], name]
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.settle()
    assert set(world.gitlab.runners) == {1}
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


async def test_a_deleted_pool_goes_after_a_while_although_gitlab_is_away(world: PoolWorld) -> None:
    await world.apply(runner=MANAGED)
    await world.settle()
    world.gitlab.error = GitLabUnavailable("503")
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    with pytest.raises(Retry):
        await world.step()
    world.pass_time(901)
    await world.step()
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


async def test_quota_leaves_jobs_waiting_and_is_said(world: PoolWorld) -> None:
    quota = {
        "metadata": {"name": "small", "namespace": KEY[0]},
        "spec": {},
        "status": {"hard": {"pods": "3"}, "used": {"pods": "2"}},
    }
    world.kubernetes.objects["resourcequotas", KEY[0], "small"] = quota
    await world.apply()
    await world.settle()
    world.queue(1, 2, 3)
    await world.step()
    await world.step()
    assert len(world.pods()) == 1
    assert world.condition("ScalingLimited") == ("True", "Quota")


async def test_a_namespace_is_asked_for_its_quotas_only_where_it_may_have_some(world: PoolWorld) -> None:
    def count_questions() -> int:
        return sum(call[:2] == ("list", "resourcequotas") for call in world.kubernetes.calls)

    await world.apply()
    await world.settle()
    for number in (1, 2):
        world.queue(number)
        await world.settle()
        assert len(world.pods()) == number
        assert count_questions() == 1
    quota = {"metadata": {"name": "small"}, "status": {"hard": {"pods": "2"}, "used": {"pods": "2"}}}
    await world.kubernetes.create_object(RESOURCE_QUOTAS, KEY[0], quota)
    world.deps.quotas[KEY[0]].add("small")  # as the watch does
    world.queue(3)
    await world.settle()
    assert len(world.pods()) == 2
    assert count_questions() > 1


async def test_counts_are_written_when_they_have_been_wrong_for_a_second(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 100.0
    monkeypatch.setattr(statuspace, "SETTLE_SECONDS", 1.0)
    monkeypatch.setattr(module, "monotonic", lambda: seconds)
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


async def test_a_pod_that_is_refused_is_said(world: PoolWorld) -> None:
    def refuse(kind: Kind, body: Object) -> Refused | None:
        return Refused("Forbidden", "violates PodSecurity") if kind.plural == "pods" else None

    world.kubernetes.refuse = refuse
    await world.apply(min=1)
    await world.settle()
    assert world.condition("Ready") == ("False", "PodRefused")
    assert world.condition("ScalingLimited") == ("True", "BackOff")
    world.kubernetes.refuse = lambda _kind, _body: None
    world.pass_time(5)
    await world.settle()
    assert len(world.pods()) == 1
    assert world.condition("Ready") == ("True", "Serving")


async def test_pods_that_are_refused_are_tried_ever_more_rarely(world: PoolWorld) -> None:
    tried = []

    def refuse(kind: Kind, body: Object) -> Refused | None:
        if kind.plural == "pods":
            tried.append(world.clock[0])
            return Refused("Forbidden", "violates PodSecurity")
        return None

    world.kubernetes.refuse = refuse
    await world.apply(min=1)
    for _ in range(720):
        await world.step()
        world.pass_time(5)
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(tried)]
    assert waits[:6] == [5, 10, 20, 40, 80, 160]
    assert set(waits[6:]) == {300}
    assert world.condition("Ready") == ("False", "PodRefused")
    assert len(world.events("PodRefused")) == 1
    assert world.events("Created") == [], "nothing was"


async def test_of_pods_that_were_refused_in_part_it_is_said_how_many_were_created(world: PoolWorld) -> None:
    def refuse(kind: Kind, body: Object) -> Refused | None:
        many = kind.plural == "pods" and len(world.pods()) >= 2
        return Refused("Forbidden", "exceeded quota: small") if many else None

    world.kubernetes.refuse = refuse
    await world.apply(min=3)
    await world.settle()
    assert world.events("Created") == ["2 of 3 pods; the others were refused"]


async def test_an_operator_that_dies_while_it_collects_a_pod_leaves_no_manager(world: PoolWorld) -> None:
    """The pod is the only note of the manager: it goes last."""
    await world.apply()
    await world.settle()
    world.queue(7)
    await world.settle()
    world.start_pods()
    managers = world.gitlab.runners[1].managers
    managers.add(runner_system_id(world.kubernetes.objects["runnerpools", *KEY]["metadata"]["uid"], 0))
    seen: list[tuple[int, int]] = []
    delete = world.kubernetes.delete_object

    async def look_and_delete(*arguments: Any, **options: Any) -> None:
        seen.append((len(world.pods()), len(managers)))
        await delete(*arguments, **options)

    world.kubernetes.delete_object = look_and_delete  # type: ignore[method-assign]  # what it does stays as it is
    world.end_pod("lab-runner-0", 7)
    await world.settle()
    assert seen == [(1, 0)]
    assert (world.pods(), managers) == ({}, set())


async def test_a_pod_that_vanishes_is_replaced_and_its_manager_forgotten(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.queue(5)
    await world.settle()
    world.start_pods()
    await world.settle()
    uid = world.kubernetes.objects["runnerpools", *KEY]["metadata"]["uid"]
    world.gitlab.runners[1].managers = {runner_system_id(uid, 0)}
    del world.kubernetes.objects["pods", KEY[0], "lab-runner-0"]
    await world.settle()
    assert world.gitlab.runners[1].managers == set()
    told = [raw for (plural, _, _), raw in world.kubernetes.objects.items() if plural == "events"]
    (lost,) = (event for event in told if event["reason"] == "PodLost")
    assert "job 5 or another" in lost["note"]


async def test_a_pool_leaves_room_to_one_of_higher_priority_and_says_so(world: PoolWorld) -> None:
    hard, used = {"pods": "3"}, {"pods": "1"}
    await world.kubernetes.create_object(
        RESOURCE_QUOTAS, KEY[0], {"metadata": {"name": "small"}, "status": {"hard": hard, "used": used}}
    )
    await world.apply(priority=5)
    await world.settle()
    urgent = build_spec(priority=9)
    world.deps.wants[KEY[0], "urgent"] = compute_want(urgent, 2, world.clock[0])
    world.deps.wants["elsewhere", "urgent"] = compute_want(urgent, 2, world.clock[0])
    world.queue(1)
    await world.settle()
    assert world.pods() == {}
    assert world.condition("ScalingLimited") == ("True", "Quota")
    assert world.deps.wants[KEY].priority == 5
    del world.deps.wants[KEY[0], "urgent"]
    await world.settle()
    assert len(world.pods()) == 1
    assert KEY not in world.deps.wants


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


async def test_no_pass_over_a_pool_that_is_gone_is_due(world: PoolWorld) -> None:
    await world.apply(min=1)
    await world.settle()
    (name,) = world.pods()
    del world.kubernetes.objects["runnerpools", *KEY]
    assert await world.step() == NEVER
    world.deps.pods.put(KEY, parse_runner_pod(world.pods()[name]))  # a late event of its pod
    assert await world.step() == NEVER
    assert world.deps.pods.list_pods(KEY) == {}


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
    world.deps.pods.forget(KEY)
    await world.apply(min=2)
    await world.settle()
    assert world.status()["replicas"] == 1
    assert world.condition("ScalingLimited") == ("True", "BackOff")  # the name of the second pod is taken
    del world.kubernetes.objects["pods", KEY[0], "lab-runner-1"], world.kubernetes.objects["pods", KEY[0], "strange"]
    world.pass_time(60)
    await world.settle()
    assert world.status()["replicas"] == 2
    assert world.events("PodLost") == []


IN_PODS = {
    "executor": {"type": "Kubernetes", "kubernetes": {"image": "debian", "resources": {"requests": {"cpu": "2"}}}},
    "pod": {"resources": {"requests": {"cpu": "100m"}}},
}
OTHER = (KEY[0], "other")


async def add_other_pool(world: PoolWorld, used: str) -> None:
    """Have two pools, whose jobs run in pods of two CPUs, share a quota that has room for one job."""
    await world.apply(**IN_PODS)
    await world.settle()
    hard = {"requests.cpu": "2300m"}
    quota = {"metadata": {"name": "small"}, "status": {"hard": hard, "used": {"requests.cpu": used}}}
    await world.kubernetes.create_object(RESOURCE_QUOTAS, KEY[0], quota)
    world.deps.quotas[KEY[0]] = {"small"}
    body = manifest(**IN_PODS)
    body["metadata"]["name"] = OTHER[1]
    world.deps.pools[OTHER] = await world.kubernetes.create_object(RUNNER_POOLS, KEY[0], body)


async def test_room_is_kept_for_the_jobs_of_another_pools_runners_though_a_restart_has_forgotten_them(
    world: PoolWorld,
) -> None:
    await add_other_pool(world, used="100m")
    owner = {"kind": "RunnerPool", "name": "other", "controller": True}
    owner["uid"] = world.deps.pools[OTHER]["metadata"]["uid"]
    labels = {"bessemer.dev/pool": "other", "bessemer.dev/slot": "0"}
    metadata = {"name": "other-runner-0", "labels": labels, "ownerReferences": [owner]}
    await world.kubernetes.create_object(PODS, KEY[0], {"kind": "Pod", "metadata": metadata})
    world.queue(1)
    await world.settle()
    assert list(world.pods()) == ["other-runner-0"]
    assert world.condition("ScalingLimited") == ("True", "Quota")
    # Its job's pod is there, and a second one fits beside it.
    status = {"hard": {"requests.cpu": "4300m"}, "used": {"requests.cpu": "2100m"}}
    world.kubernetes.edit("resourcequotas", KEY[0], "small", {"status": status})
    uid = world.pods()["other-runner-0"]["metadata"]["uid"]
    world.deps.job_pods[OTHER] = {"job": JobPodFact("job", "uid", uid, leaving=False, deleted=False)}
    await world.settle()
    assert sorted(world.pods()) == ["lab-runner-0", "other-runner-0"]


async def test_two_pools_that_look_at_a_quota_at_the_same_time_do_not_both_take_its_last_room(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_other_pool(world, used="0")
    create = world.kubernetes.create_object

    async def take_time(kind: Kind, namespace: str, body: Object) -> Object:
        await asyncio.sleep(0)
        return await create(kind, namespace, body)

    monkeypatch.setattr(world.kubernetes, "create_object", take_time)

    async def pass_over_both() -> None:
        await asyncio.gather(reconcile(world.deps, KEY, 0.0), reconcile(world.deps, OTHER, 0.0))
        for _ in range(20):
            await asyncio.sleep(0)

    await pass_over_both()
    world.deps.pools[OTHER] = world.kubernetes.objects["runnerpools", *OTHER]
    await pass_over_both()
    world.queue(1)
    for _ in range(3):
        await pass_over_both()
    assert len(world.pods()) == 1
    assert world.deps.begun == {}


async def test_a_pod_whose_containers_have_ended_is_not_left_to_the_kubelet(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.queue(7)
    await world.settle()
    world.start_pods()
    (name,) = world.pods()
    # What the kubelet says first, a second before it says that the pod has ended.
    ended = {"exitCode": 0, "message": '{"outcome":"JobTaken","jobs":[7]}', "finishedAt": "2026-03-02T06:00:00Z"}
    status = {"phase": "Running", "containerStatuses": [{"name": "runner", "state": {"terminated": ended}}]}
    world.gitlab.jobs.clear()
    world.kubernetes.edit("pods", KEY[0], name, {"status": status})
    await world.settle()
    assert world.pods() == {}


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


async def test_the_news_that_a_collected_pod_is_gone_may_come_before_the_answer(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.apply()
    await world.settle()
    world.queue(7)
    await world.settle()
    world.start_pods()
    world.end_pod("lab-runner-0", 7)
    delete, forgotten = world.kubernetes.delete_object, []

    async def delete_and_hear(*arguments: Any, **options: Any) -> None:
        await delete(*arguments, **options)
        world.watch()

    async def forget(_token: str, system_id: str) -> None:
        forgotten.append(system_id)

    monkeypatch.setattr(world.kubernetes, "delete_object", delete_and_hear)
    monkeypatch.setattr(world.gitlab, "delete_manager", forget)
    await world.settle()
    assert world.pods() == {}
    assert len(forgotten) == 1


async def end_job_while_gitlab_is_away(world: PoolWorld) -> set[str]:
    """Have a job end just when GitLab has gone away; give the managers that GitLab has."""
    await world.apply()
    await world.settle()
    world.queue(7)
    await world.settle()
    world.start_pods()
    managers = world.gitlab.runners[1].managers
    managers.add(runner_system_id(world.kubernetes.objects["runnerpools", *KEY]["metadata"]["uid"], 0))
    await world.settle()
    world.gitlab.error = GitLabUnavailable("503 Service Unavailable")
    world.end_pod("lab-runner-0", 7)
    await world.settle()
    assert world.pods() == {}
    assert len(managers) == 1
    return managers


async def test_a_manager_is_forgotten_as_soon_as_gitlab_is_back(world: PoolWorld) -> None:
    managers = await end_job_while_gitlab_is_away(world)
    world.gitlab.error = None
    world.pass_time(CHECK_SECONDS)
    await world.settle()
    assert managers == set()
    calls = world.gitlab.calls.count("delete_manager")
    world.pass_time(CHECK_SECONDS)
    await world.settle()
    assert world.gitlab.calls.count("delete_manager") == calls


async def test_the_manager_of_a_slot_that_is_in_use_again_is_its_pod_s(world: PoolWorld) -> None:
    managers = await end_job_while_gitlab_is_away(world)
    world.gitlab.error = None
    world.queue(8)
    world.pass_time(CHECK_SECONDS - 1)
    await world.settle()
    assert set(world.pods()) == {"lab-runner-0"}
    world.pass_time(CHECK_SECONDS)
    await world.settle()
    assert len(managers) == 1


async def test_a_pool_is_let_go_when_gitlab_has_forgotten_its_managers(world: PoolWorld) -> None:
    managers = await end_job_while_gitlab_is_away(world)
    await world.kubernetes.delete_object(RUNNER_POOLS, *KEY)
    with pytest.raises(Retry):
        await world.step()
    assert world.events("GitLabUnavailable") == [f"{module.LEAVING}: 503 Service Unavailable"]
    world.gitlab.error = None
    await world.settle(2)
    assert managers == set()
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


async def test_a_pool_whose_runner_was_deleted_goes_at_once(world: PoolWorld) -> None:
    await end_job_while_gitlab_is_away(world)
    world.gitlab.error = None
    world.gitlab.runners.clear()
    await world.kubernetes.delete_object(RUNNER_POOLS, *KEY)
    await world.settle(2)
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


async def test_nothing_is_remembered_of_a_pool_that_is_gone(world: PoolWorld) -> None:
    await end_job_while_gitlab_is_away(world)
    world.queue(8)
    await world.settle()
    world.deps.pools.pop(KEY)
    await reconcile(world.deps, KEY, 0.0)
    deps = world.deps
    memories = (deps.runners, deps.left_managers, deps.paces, deps.vanished, deps.quiet, deps.wants)
    assert [memory for memory in memories if memory] == []
    assert deps.pods.get_age(KEY, 0.0) is None
    assert deps.pods.list_pods(KEY) == {}
    assert deps.sources.get_source(KEY) is None


async def test_the_jobs_of_a_pool_that_is_deleted_are_not_listed_any_more(world: PoolWorld) -> None:
    await world.apply(min=1)
    await world.settle()
    world.start_pods()
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.step()
    assert world.deps.sources.get_source(KEY) is None


async def test_the_pod_of_a_job_whose_runner_was_killed_is_deleted_once(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    body = {"kind": "Pod", "metadata": {"name": "job"}}
    uid = (await world.kubernetes.create_object(PODS, KEY[0], body))["metadata"]["uid"]
    world.deps.job_pods[KEY] = {"job": JobPodFact("job", uid, "gone", leaving=False, deleted=False)}
    await reconcile(world.deps, KEY, 0.0)
    assert world.pods() == {}
    assert world.deps.job_pods[KEY]["job"].deleted
    (event,) = world.events("JobPodEnded")
    assert event == "1 whose runner was killed: job"


async def test_a_binding_of_another_installation_is_said_and_made_anew_when_it_is_deleted(world: PoolWorld) -> None:
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


async def test_a_manager_goes_although_the_end_of_its_jobs_was_not_heard_of(world: PoolWorld) -> None:
    """A watch that begins anew tells of no deletions in between."""
    kubernetes = {"type": "Kubernetes", "kubernetes": {"image": "debian"}}
    await world.apply(executor=kubernetes, mode="Manager", idleSeconds=60)
    await world.settle()
    world.queue(5)
    await world.settle()
    world.start_pods()
    await world.settle()
    (manager,) = world.pods().values()
    world.deps.job_pods[KEY] = {"job": JobPodFact("job", "u1", manager["metadata"]["uid"], False, False)}
    world.gitlab.jobs.clear()
    source = world.deps.sources.get_source(KEY)
    assert source is not None
    source.nudge()
    await world.settle()
    assert world.status()["running"] == 1
    world.deps.pods.forget(KEY)  # as a resync does: what is known is old
    await world.settle()
    assert world.deps.job_pods.get(KEY, {}) == {}
    world.pass_time(61)
    await world.settle()
    assert "deletionTimestamp" in manager["metadata"] or not world.pods()


async def test_a_foreign_pod_of_the_name_is_left_alone(world: PoolWorld) -> None:
    await world.apply(min=1)
    foreign = {"kind": "Pod", "metadata": {"name": "lab-runner-0"}}
    await world.kubernetes.create_object(Kind("", "v1", "pods"), KEY[0], foreign)
    await world.settle()
    assert world.condition("Ready") == ("False", "NameTaken")
    assert ("pods", KEY[0], "lab-runner-0") in world.kubernetes.objects


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
    stale = world.deps.pools[KEY]
    stale["metadata"]["resourceVersion"] = "0"
    with pytest.raises(Retry):
        await reconcile(world.deps, KEY, 0.0)

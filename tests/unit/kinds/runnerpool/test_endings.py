"""What is left behind by pods, jobs and pools that end, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.api.names import runner_system_id
from bessemer.engine.boundary import NEVER
from bessemer.gitlab.protocol import GitLabUnavailable
from bessemer.kinds.runnerpool.facts import CLAIM_WINDOW, JobPodFact
from bessemer.kinds.runnerpool.pods.cache import PodCache
from bessemer.kinds.runnerpool.resource import RUNNER_POOLS
from bessemer.kinds.runnerpool.runner.ending import LEAVING
from bessemer.kinds.runnerpool.runner.known import CHECK_SECONDS
from bessemer.kube.protocol import PODS
from tests.support.pool_world import KEY, PoolWorld

MANAGED = {"managed": {}, "tags": ["hpc"]}


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
    await world.step()
    assert ("runnerpools", *KEY) in world.kubernetes.objects
    world.pass_time(901)
    await world.step()
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


async def test_an_operator_that_dies_while_it_collects_a_pod_leaves_no_manager(world: PoolWorld) -> None:
    """The pod is the only note of the manager: it goes last."""
    managers = await world.run_job(7)
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


async def test_no_pass_over_a_pool_that_is_gone_is_due(world: PoolWorld) -> None:
    await world.apply(min=1)
    await world.settle()
    (name,) = world.pods()
    del world.kubernetes.objects["runnerpools", *KEY]
    assert await world.step() == NEVER
    world.hear_pod(None, world.pods()[name])  # a late event of its pod
    assert await world.pass_over() == NEVER
    assert world.deps.memories.find(KEY) is None


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
    """Have a job end just when GitLab has gone away; return the managers that GitLab has."""
    managers = await world.run_job(7)
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
    await world.step()
    assert ("runnerpools", *KEY) in world.kubernetes.objects
    assert world.events("GitLabUnavailable") == [f"{LEAVING}: 503 Service Unavailable"]
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
    world.controller.objects.drop(KEY)
    await world.pass_over()
    assert world.deps.memories.find(KEY) is None
    assert world.deps.sources.get_source(KEY) is None


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
    world.deps.job_pods.put(KEY, JobPodFact("job", uid, "gone", leaving=False, deleted=False))
    await world.pass_over()
    assert world.pods() == {}
    assert world.deps.job_pods.list_of(KEY)[0].deleted
    (event,) = world.events("JobPodEnded")
    assert event == "1 whose runner was killed: job"


async def test_a_manager_goes_although_the_end_of_its_jobs_was_not_heard_of(world: PoolWorld) -> None:
    """A restarted watch reports no deletions in between."""
    kubernetes = {"type": "Kubernetes", "kubernetes": {"image": "debian"}}
    await world.apply(executor=kubernetes, mode="Manager", idleSeconds=60)
    await world.settle()
    world.queue(5)
    await world.settle()
    world.start_pods()
    await world.settle()
    (manager,) = world.pods().values()
    world.deps.job_pods.put(KEY, JobPodFact("job", "u1", manager["metadata"]["uid"], False, False))
    world.gitlab.jobs.clear()
    source = world.deps.sources.get_source(KEY)
    assert source is not None
    source.nudge()
    await world.settle()
    assert world.status()["running"] == 1
    world.memory.pods = PodCache()  # as a resync does: what is known is old
    await world.settle()
    assert world.deps.job_pods.list_of(KEY) == []
    world.pass_time(61)
    await world.settle()
    assert "deletionTimestamp" in manager["metadata"] or not world.pods()


async def test_a_pool_that_was_deleted_while_no_operator_ran_leaves_no_manager(world: PoolWorld) -> None:
    managers = await world.run_job(7)
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.restart_operator()
    await world.settle()
    world.end_pod("lab-runner-0", 7)
    await world.settle()
    assert (world.pods(), managers) == ({}, set())
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


@pytest.mark.parametrize("killed", [False, True])
async def test_a_runner_that_outlives_its_pod_by_a_moment_leaves_no_manager(world: PoolWorld, *, killed: bool) -> None:
    """Deleted by force, a pod is gone before its processes are, and they may ask GitLab once more."""
    await world.apply()
    await world.settle()
    world.queue(7)
    await world.settle()
    world.start_pods()
    await world.settle()
    managers = world.gitlab.runners[1].managers
    system_id = runner_system_id(world.kubernetes.objects["runnerpools", *KEY]["metadata"]["uid"], 0)
    world.gitlab.jobs.clear()
    world.queue()
    await world.settle()
    if killed:  # of which the kubelet may tell before the pod is gone
        world.end_pod("lab-runner-0", exit_code=137, reason="Error")
    else:
        del world.kubernetes.objects["pods", KEY[0], "lab-runner-0"]
    await world.settle()
    managers.add(system_id)  # as GitLab does for any runner that asks
    assert await world.step() <= CLAIM_WINDOW.total_seconds()  # type: ignore[operator]  # never None
    world.pass_time(CLAIM_WINDOW.total_seconds())
    await world.settle()
    assert managers == set()
    assert world.memory.left_managers == {}


async def test_a_runner_that_outlives_its_pod_leaves_no_manager_though_the_next_pod_of_its_slot_has_ended_meanwhile(
    world: PoolWorld,
) -> None:
    await world.apply()
    await world.settle()
    world.queue(7)
    await world.settle()
    world.start_pods()
    await world.settle()
    managers = world.gitlab.runners[1].managers
    system_id = runner_system_id(world.kubernetes.objects["runnerpools", *KEY]["metadata"]["uid"], 0)
    del world.kubernetes.objects["pods", KEY[0], "lab-runner-0"]
    await world.settle()
    world.start_pods()
    world.end_pod("lab-runner-0", 7)
    world.gitlab.jobs.clear()
    world.queue()
    await world.settle()
    assert (world.pods(), managers) == ({}, set())
    managers.add(system_id)  # by the runner of the first pod
    world.pass_time(CLAIM_WINDOW.total_seconds())
    await world.settle()
    assert managers == set()
    assert world.memory.left_managers == {}


async def test_a_deleted_pool_says_so_while_gitlab_is_away(world: PoolWorld) -> None:
    await world.apply(runner=MANAGED)
    await world.settle()
    world.gitlab.error = GitLabUnavailable("503 Service Unavailable")
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.settle()
    assert ("runnerpools", *KEY) in world.kubernetes.objects
    assert world.condition("Ready") == ("False", "Deleting")
    assert world.condition("Draining") == ("True", "Deleted")


async def test_a_pool_that_has_gone_is_not_said_to_be_wrong(world: PoolWorld) -> None:
    """Its last pass may be under way when the watch says that it is gone."""
    await world.apply(runner=MANAGED)
    await world.settle()
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    world.watch()
    before = world.deps.pools.get(KEY)
    assert before is not None
    await world.pass_over()
    assert ("runnerpools", *KEY) not in world.kubernetes.objects
    assert world.deps.pools.get(KEY) is None, "another pass would look for its runner again"
    assert before["metadata"]["deletionTimestamp"]
    assert world.events("InvalidSpec") == []


async def test_a_runner_that_gitlab_refuses_says_so_on_the_pool(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.queue(7)
    await world.settle()
    world.start_pods()
    world.end_pod("lab-runner-0", exit_code=1, reason="Error", outcome="Forbidden")
    await world.settle()
    world.pass_time(1)
    world.queue()
    await world.settle()
    assert world.status()["backOff"]["cause"] == "Forbidden"
    assert "403" in world.status()["backOff"]["message"]
    (event,) = world.events("PodFailed")
    assert event.startswith("lab-runner-0: Forbidden: GitLab gives the runner no job (403)")


async def test_a_pod_that_is_taken_back_before_it_started_is_no_failure(world: PoolWorld) -> None:
    """Such as one that was made from an earlier spec, or whose job was cancelled."""
    await world.apply()
    await world.settle()
    world.queue(7)
    await world.settle()
    waiting = {"name": "runner", "state": {"waiting": {"reason": "ContainerCreating"}}}
    failed = {"phase": "Failed", "containerStatuses": [waiting]}
    pod = world.kubernetes.objects["pods", KEY[0], "lab-runner-0"]
    pod["metadata"]["deletionTimestamp"] = world.clock[0].isoformat()
    world.kubernetes.edit("pods", KEY[0], "lab-runner-0", {"spec": {"nodeName": "n"}, "status": failed})
    await world.settle()
    assert "backOff" not in world.status()
    assert world.events("PodFailed") == []
    assert len(world.pods()) == 1, "another one was created for the job at once"

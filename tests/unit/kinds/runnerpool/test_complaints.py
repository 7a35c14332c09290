"""What users of other systems complain of, as far as it is decided without a cluster.

docs/user/complaints.md has all of it, with the tests here and elsewhere.
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from bessemer.gitlab.protocol import PendingJob
from bessemer.kinds.runnerpool.facts import Headroom, RunnerPodState
from bessemer.kinds.runnerpool.render.config import build_secret_data
from bessemer.kinds.runnerpool.render.manifest import build_role_binding, build_runner_pod, build_service_account
from bessemer.kinds.runnerpool.render.slurm_files import SlurmHost
from tests.support.pool_world import KEY, PROJECT, PoolWorld
from tests.unit.kinds.runnerpool.render.test_executors import EXECUTORS, HOST_KEY, SETTINGS
from tests.unit.kinds.runnerpool.scenes import START, Scene, build_pool, build_spec

KUBERNETES = {"type": "Kubernetes", "kubernetes": {"image": "debian", "resources": {"requests": {"cpu": "2"}}}}


async def test_an_exceeded_quota_does_not_fail_a_job_whose_pod_is_another_one(world: PoolWorld) -> None:
    """Room for the pod of a job is kept from when its runner is created, though the quota does not count it yet."""
    quota = {
        "metadata": {"name": "small", "namespace": KEY[0]},
        "spec": {},
        "status": {"hard": {"requests.cpu": "5"}, "used": {"requests.cpu": "0"}},
    }
    world.kubernetes.objects["resourcequotas", KEY[0], "small"] = quota
    await world.apply(executor=KUBERNETES)
    await world.settle()
    world.queue(1, 2, 3)
    await world.settle()
    world.start_pods()
    world.queue(4)
    await world.settle()
    assert len(world.pods()) == 2
    assert world.condition("ScalingLimited") == ("True", "QuotaExceeded")


@pytest.mark.parametrize("reason", ["OOMKilled", "Evicted", "NodeShutdown", "PodDeleted"])
def test_what_ended_a_pod_is_said_with_its_job_and_not_taken_for_the_scripts_failure(reason: str) -> None:
    scene = Scene()
    scene.poll(1001)
    scene.step()
    scene.start(0)
    scene.poll()
    scene.end(0, failed=reason)
    scene.step()
    (event,) = [event for event in scene.events if event.reason == "PodFailed"]
    assert event.message == f"lab-runner-0: {reason}: {reason.lower()}; sent for job 1001"


@pytest.mark.parametrize("name", EXECUTORS)
def test_no_secret_stands_in_a_manifest(name: str) -> None:
    s3 = {"server": "s3", "bucket": "caches", "accessKeySecret": {"name": "a"}, "secretKeySecret": {"name": "b"}}
    fields = {"executor": EXECUTORS[name], "cache": {"s3": s3}}
    pool, spec = build_pool(**fields), build_spec(**fields)
    secrets = dict.fromkeys(("s3-access-key", "s3-secret-key", "ssh-identity", "slurm-identity", "ca.crt"), "canary")
    data = build_secret_data(pool, spec, "glrt-canary", secrets, SlurmHost("10.77.0.5", 22, HOST_KEY))
    assert "canary" in json.dumps(data)
    objects = [
        build_runner_pod(pool, spec, SETTINGS, 0, "t"),
        build_service_account(pool),
        build_role_binding(pool, SETTINGS),
    ]
    assert "canary" not in json.dumps(objects)


async def test_the_jobs_that_wait_are_counted_by_tags_which_gitlab_has_no_question_for(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    others = ((8, {"hpc", "gpu"}), (9, {"gpu"}), (10, set[str]()))
    world.gitlab.jobs += [PendingJob(number, PROJECT, frozenset(tags)) for number, tags in others]
    world.gitlab.calls.clear()
    world.queue(1, 2)
    await world.settle()
    assert (world.status()["pending"], len(world.pods())) == (2, 2)
    assert world.gitlab.calls == ["list_pending_jobs"]


async def test_a_burst_is_one_pass_up_and_one_pass_down(world: PoolWorld) -> None:
    await world.apply(max=50)
    await world.settle()
    world.queue(*range(1, 31))
    await world.step()  # lists the jobs
    await world.step()
    assert len(world.pods()) == 30
    world.start_pods()
    await world.settle()
    for number, name in enumerate(world.pods(), 1):
        world.end_pod(name, number)
    await world.step()
    assert world.pods() == {}


def test_a_changed_template_neither_waits_for_jobs_nor_stops_intake_nor_loops() -> None:
    scene = Scene(min=3, max=3)
    scene.poll(1, 2)
    scene.step()
    scene.start(0, 1)
    scene.step()
    scene.start(2)  # the one that waits
    scene.poll()
    scene.template = "t2"
    scene.poll(3)
    scene.wait(1)
    scene.step()
    # Those with a job go on, the one that waited is gone, the new job has its pod.
    assert sorted((pod.job or "", pod.template) for pod in scene.pods.values()) == [
        ("1", "t1"),
        ("2", "t1"),
        ("3", "t2"),
    ]
    lines = len(scene.log)
    for _ in range(5):
        scene.wait(0.5)
        scene.step()
    assert scene.log[lines:] == []


def test_a_corrected_image_replaces_pods_that_never_started() -> None:
    """The template rollout that deadlocks: pods that wait for an image which there isn't, and stand for their jobs."""
    scene = Scene(max=1)
    scene.poll(1)
    scene.step()
    scene.wait(60)
    scene.poll(1)
    scene.step()
    assert [pod.template for pod in scene.pods.values()] == ["t1"]
    scene.template = "t2"
    scene.step()
    scene.step()
    assert [(pod.job, pod.template) for pod in scene.pods.values()] == [("1", "t2")]


def test_a_corrected_spec_does_not_wait_for_the_back_off_of_the_wrong_one() -> None:
    scene = Scene()
    for job in range(1, 6):
        scene.poll(job)
        scene.step()
        scene.end(0, failed="InitContainerFailed")
        back_off = scene.step().status.back_off
        assert back_off is not None
        assert back_off.until is not None
        if job < 5:
            scene.now = back_off.until
    scene.poll(6)
    scene.step()
    assert scene.pods == {}
    scene.change_spec(idleSeconds=30)
    scene.step()
    assert [pod.state for pod in scene.pods.values()] == [RunnerPodState.STARTING]


def test_scale_down_lets_pods_alone_that_wait_for_a_node() -> None:
    scene = Scene(max=5)
    scene.poll(1, 2, 3)
    scene.step()
    before = {pod.uid for pod in scene.pods.values()}
    for _ in range(20):
        scene.wait(30)
        scene.poll(1, 2, 3)
        scene.step()
    scene.change_spec(max=1)
    scene.step()
    assert {pod.uid for pod in scene.pods.values()} == before
    assert scene.log == ["0 s: Created: 3 pods, for jobs 1, 2, 3"]


def test_after_any_number_of_failures_a_pool_recovers_by_itself_and_leaves_no_pod() -> None:
    """An outage of two hours in which each pod fails; then five minutes at the most until the next one is tried."""
    scene = Scene()
    while scene.now - START < timedelta(hours=2):
        scene.poll(1)
        plan = scene.step()
        for slot in list(scene.pods):
            scene.end(slot, failed="NodeLost")
        scene.step()
        assert scene.pods == {}
        scene.wait(min(plan.wake_after or 1, 30))
    over = scene.now
    while not scene.pods:
        scene.poll(1)
        scene.step()
        scene.wait(5)
    assert scene.now - over <= timedelta(minutes=5, seconds=10)
    scene.start(0)
    scene.poll()
    scene.end(0, 1)
    plan = scene.step()
    assert (scene.pods, plan.status.back_off) == ({}, None)


def test_jobs_are_not_claimed_without_capacity() -> None:
    """The pod asks GitLab when it runs; where a quota says that it can't be, it is not even created."""
    scene = Scene(max=5)
    scene.headroom = Headroom(0, "ResourceQuota small: 4 of 4 pods are used")
    scene.poll(1)
    for _ in range(10):
        scene.wait(60)
        scene.poll(1)
        scene.step()
    assert scene.pods == {}
    scene.headroom = None
    scene.step()
    assert len(scene.pods) == 1

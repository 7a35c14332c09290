"""Mode Manager, told as stories; and what becomes of the pods of jobs whose runner was killed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bessemer.api.wellknown import POOL_ANNOTATION, RUNNER_UID_LABEL
from bessemer.kinds.runnerpool.facts import Headroom, JobPodFact, RunnerPodState
from bessemer.kinds.runnerpool.plan import EndRunner
from bessemer.kinds.runnerpool.pods.job_pods import parse_job_pod
from tests.unit.kinds.runnerpool.scenes import Scene

EXECUTOR = {"type": "Kubernetes", "kubernetes": {"image": "debian"}}


def build_scene(**spec: Any) -> Scene:
    return Scene(mode="Manager", executor=EXECUTOR, max=20, idleSeconds=60, **spec)


def test_one_manager_comes_with_the_first_job_and_goes_when_all_is_quiet() -> None:
    scene = build_scene()
    scene.step()
    assert scene.pods == {}
    scene.poll(1, 2, 3)
    scene.step()
    scene.step()
    scene.start(0)
    jobs = [scene.run_job(0) for _ in range(3)]
    scene.poll()
    status = scene.step().status
    assert (len(scene.pods), status.running, status.replicas) == (1, 3, 1)
    scene.wait(3600)
    scene.step()
    for job in jobs:
        del scene.job_pods[job]
    plan = scene.step()
    assert plan.wake_after == 60
    scene.wait(59)
    scene.poll(4)  # another job: not quiet yet
    scene.step()
    scene.poll()
    scene.step()
    scene.wait(60)
    scene.step()
    assert scene.pods == {}
    assert scene.log == [
        "0 s: Created: the manager, as 3 jobs wait",
        "3719 s: Retired: the manager, which has had nothing to do for 60 s",
    ]


def test_a_manager_with_a_job_is_never_told_to_go_however_long_it_takes() -> None:
    scene = build_scene()
    scene.poll(1)
    scene.step()
    scene.start(0)
    scene.run_job(0)
    scene.poll()
    for _ in range(48):
        scene.step()
        scene.wait(1800)
    assert len(scene.pods) == 1


def test_a_changed_spec_brings_a_new_manager_before_the_old_one_goes() -> None:
    scene = build_scene()
    scene.poll(1)
    scene.step()
    scene.start(0)
    scene.template = "t2"
    scene.step()
    assert sorted(scene.pods) == [0, 1]
    scene.step()
    assert sorted(scene.pods) == [0, 1]  # the new one starts; the old one still takes jobs
    scene.start(1)
    scene.step()
    assert sorted(scene.pods) == [1]


def test_min_keeps_a_manager_and_quota_and_failures_hold_it_back() -> None:
    scene = build_scene(min=1)
    scene.headroom = Headroom(0, "ResourceQuota small: 1 of 1 pods are used")
    scene.step()
    assert scene.pods == {}
    scene.headroom = Headroom(1, "ResourceQuota small: 0 of 1 pods are used")
    scene.step()
    scene.end(0, failed="OOMKilled")
    scene.step()
    plan = scene.step()
    assert (scene.pods, plan.wake_after) == ({}, 5)
    scene.wait(5)
    scene.step()
    assert [pod.state for pod in scene.pods.values()] == [RunnerPodState.STARTING]
    assert [line.split(": ")[1:3] for line in scene.log if "limited" in line] == [
        ["limited", "QuotaExceeded"],
        ["limited", "BackOff"],
        ["limited", "BackOff"],
    ]


@pytest.mark.parametrize(
    ("metadata", "phase", "leaving", "deleted"),
    [
        ({}, "Pending", False, False),
        ({}, "Running", False, False),
        ({}, "Succeeded", True, False),
        ({}, "Failed", True, False),
        ({"deletionTimestamp": "2026-03-02T06:00:00Z"}, "Running", True, True),
    ],
)
def test_the_pod_of_a_job_is_read(metadata: dict[str, str], phase: str, leaving: bool, deleted: bool) -> None:
    own = {"name": "job", "uid": "u", "labels": {RUNNER_UID_LABEL: "r"}, "annotations": {POOL_ANNOTATION: "lab"}}
    pool, pod = parse_job_pod({"metadata": own | metadata, "status": {"phase": phase}})
    assert (pool, pod) == ("lab", JobPodFact("job", "u", "r", leaving, deleted))


def test_the_pod_of_a_job_whose_runner_was_killed_is_ended() -> None:
    scene = Scene(executor=EXECUTOR)
    scene.poll(1, 2)
    scene.step()
    scene.start(0, 1)
    kept, orphan = scene.run_job(0), scene.run_job(1)
    scene.end(1, failed="Evicted")
    scene.poll()
    scene.wait(1)
    scene.step()
    assert list(scene.job_pods) == [kept]
    assert f"JobPodEnded: 1 whose runner was killed: {orphan}" in scene.log[-1]


def test_a_deleted_pool_stays_until_the_pods_of_its_jobs_are_ended() -> None:
    scene = Scene(executor=EXECUTOR)
    scene.poll(1)
    scene.step()
    scene.start(0)
    scene.run_job(0)
    del scene.pods[0]
    scene.pool = scene.pool.__class__(**{**scene.pool.__dict__, "deleted": scene.now + timedelta()})
    assert scene.step().step != EndRunner()
    assert scene.step().step == EndRunner()

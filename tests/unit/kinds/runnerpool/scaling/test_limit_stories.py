"""Stories of what holds a pool back, and of two pools that share a quota: demand goes in, a log comes out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bessemer.kinds.runnerpool.demand.board import Board
from bessemer.kinds.runnerpool.facts import Headroom, RunnerPodState
from bessemer.kinds.runnerpool.scaling.quota import (
    Want,
    compute_headroom,
    compute_want,
    list_claims,
    list_runner_costs,
)
from tests.unit.kinds.runnerpool.scenes import Scene


def start_all(scene: Scene) -> None:
    """All pods that were created run."""
    scene.start(*[slot for slot, pod in scene.pods.items() if pod.state is RunnerPodState.STARTING])


def test_jobs_wait_for_room_in_the_quota_and_the_reason_stays_until_there_is_some() -> None:
    scene = Scene()
    full, room = (
        Headroom(0, "ResourceQuota small: 4 of 4 pods are used"),
        Headroom(1, "ResourceQuota small: 3 of 4 pods are used"),
    )
    for headroom in (room, full):
        scene.headroom = headroom
        scene.poll(1, 2)
        scene.step()
        scene.wait(3)
    start_all(scene)
    scene.end(0, 1)
    scene.poll(2)
    scene.headroom = room
    scene.step()
    assert scene.log == [
        "0 s: Created: 1 pod, for job 1",
        "0 s: limited: QuotaExceeded: 1 of 2 pods is not created: ResourceQuota small: 3 of 4 pods are used",
        "3 s: limited: QuotaExceeded: 1 of 1 pods is not created: ResourceQuota small: 4 of 4 pods are used",
        "6 s: Created: 1 pod, for job 2",
    ]
    assert [event.reason for event in scene.events] == ["Created", "QuotaExceeded", "Created"]


def test_after_a_failure_the_job_waits_for_the_back_off_and_then_gets_its_pod() -> None:
    scene = Scene()
    scene.poll(1)
    scene.step()
    scene.end(0, failed="ErrImagePull")
    wakes = []
    for _ in range(4):
        wakes.append(scene.step().wake_after)
        scene.wait(2)
        scene.poll(1)
    assert wakes == [None, 3, 1, None]
    assert scene.log == [
        "0 s: Created: 1 pod, for job 1",
        "2 s: limited: BackOff: 1 of 1 pods is not created: ErrImagePull: errimagepull",
        "4 s: limited: BackOff: 1 of 1 pods is not created: ErrImagePull: errimagepull",
        "6 s: Created: 1 pod, for job 1",
    ]
    assert [event.reason for event in scene.events] == [
        *("Created", "PodFailed", "ErrImagePull", "BackOff"),  # what Ready and ScalingLimited say
        "Created",
    ]


def test_a_morning_with_a_schedule() -> None:
    morning = {"name": "morning", "start": "0 7 * * 1-5", "durationSeconds": 3600, "min": 2}
    scene = Scene(schedules=[morning], idleSeconds=600)
    for minute in range(0, 181, 15):
        if minute == 75:
            scene.poll(7)
        scene.step()
        start_all(scene)
        if minute == 75:
            scene.poll()
            (busy,) = [slot for slot, pod in scene.pods.items() if pod.job]
            scene.end(busy, 7)
        scene.wait(15 * 60)
    assert scene.log == [
        "3600 s: Created: 2 pods, as min is 2",
        "4500 s: Sent: 1 pod that waited, for job 7",
        "5400 s: Created: 1 pod, as min is 2",
        "7200 s: Retired: 2 pods that waited, as at most 0 may wait",
    ]


def test_pods_that_ask_for_themselves_go_when_the_schedule_is_over_and_those_with_a_job_finish_it() -> None:
    day = {"name": "day", "start": "0 6 * * *", "durationSeconds": 3600, "min": 3}
    scene = Scene(schedules=[day], idleSeconds=60)
    scene.blind = True
    scene.step()
    start_all(scene)
    scene.wait(3590)
    scene.end(0, 11)
    scene.step()
    start_all(scene)  # the successor of the one that has had its job
    scene.wait(10)
    assert scene.step().wake_after == 50
    assert sorted(pod.state for pod in scene.pods.values()) == [*[RunnerPodState.DRAINING] * 2, RunnerPodState.RUNNING]
    scene.wait(50)
    assert scene.step().status.draining == 2  # as they were found: of the third one, the next pass tells
    for slot in list(scene.pods):
        scene.end(slot, 20 + slot)
    scene.step()
    assert scene.pods == {}
    assert scene.log == [
        "0 s: Created: 3 pods, as min is 3",
        "3590 s: Created: 1 pod, as min is 3",
        "3600 s: Retired: 2 pods that waited, 2 of them asking GitLab for themselves, as at most 0 may wait",
        "3650 s: Retired: 1 pod that waited, 1 of them asking GitLab for themselves, as at most 0 may wait",
    ]


def test_pods_that_ask_for_themselves_are_replaced_at_once_where_max_has_room() -> None:
    scene = Scene(min=2, max=5)
    scene.blind = True
    scene.step()
    start_all(scene)
    scene.template = "t2"
    scene.step()
    assert sorted((pod.template, pod.state) for pod in scene.pods.values()) == [
        *[("t1", RunnerPodState.DRAINING)] * 2,
        *[("t2", RunnerPodState.STARTING)] * 2,
    ]
    start_all(scene)
    scene.template = "t3"
    scene.step()  # as the first two may run jobs, there is room for one
    assert sorted((pod.template, pod.state) for pod in scene.pods.values()) == [
        *[("t1", RunnerPodState.DRAINING)] * 2,
        ("t2", RunnerPodState.DRAINING),
        ("t2", RunnerPodState.RUNNING),
        ("t3", RunnerPodState.STARTING),
    ]
    assert scene.log == [
        "0 s: Created: 2 pods, as min is 2",
        "0 s: Outdated: 2 pods made from an earlier spec, to take no job any more: replaced",
        "0 s: Created: 2 pods, as min is 2",
        "0 s: Outdated: 1 pod made from an earlier spec, to take no job any more: replaced",
        "0 s: Created: 1 pod, as min is 2",
    ]


def test_pods_that_ask_for_themselves_are_replaced_one_by_one_where_max_has_no_room() -> None:
    scene = Scene(min=3, max=3)
    scene.blind = True
    scene.step()
    start_all(scene)
    scene.template = "t2"
    for _ in range(3):
        scene.step()
        scene.step()
        (leaving,) = [slot for slot, pod in scene.pods.items() if pod.state is RunnerPodState.DRAINING]
        assert len(scene.pods) == 3
        scene.end(leaving)
        scene.step()
        scene.step()
        start_all(scene)
    scene.step()
    assert [(pod.template, pod.state) for pod in scene.pods.values()] == [("t2", RunnerPodState.RUNNING)] * 3


def test_pods_that_ask_for_themselves_go_where_max_was_lowered() -> None:
    scene = Scene(min=4, max=4, idleSeconds=3600)
    scene.blind = True
    scene.step()
    start_all(scene)
    scene.change_spec(min=1, max=3, idleSeconds=3600)
    assert scene.step().wake_after == 3600
    assert [pod.state for pod in scene.pods.values()].count(RunnerPodState.DRAINING) == 1
    assert scene.log[1:] == [
        "0 s: Retired: 1 pod that waited, 1 of them asking GitLab for themselves, as at most 1 may wait"
    ]


def test_a_pod_that_asks_for_itself_and_would_not_be_given_the_time_to_end_a_job_goes_when_it_has_had_one() -> None:
    scene = Scene(min=1, runner={"tokenSecret": {"name": "runner"}, "tags": ["hpc"], "gracePeriodSeconds": 90})
    scene.blind = True
    scene.step()
    start_all(scene)
    scene.pods[0] = replace(scene.pods[0], grace=timedelta(seconds=90))
    scene.template = "t2"
    scene.step()
    assert [pod.state for pod in scene.pods.values()] == [RunnerPodState.RUNNING]
    scene.pods[0] = replace(scene.pods[0], grace=timedelta(seconds=3600))
    scene.step()
    assert [pod.state for pod in scene.pods.values()] == [RunnerPodState.DRAINING, RunnerPodState.STARTING]


def test_pools_of_one_quota_by_their_priority() -> None:
    """Six pods fit. The nightly pool was there first; what it frees goes to the urgent one until that has all."""
    pools = {"nightly": Scene(priority=0, max=9), "urgent": Scene(priority=10, max=9)}
    wants: dict[str, Want] = {}

    def step(name: str) -> None:
        scene, spec = pools[name], pools[name].pool.spec
        assert spec is not None
        used = sum(len(one.pods) for one in pools.values())
        quota = {"metadata": {"name": "six"}, "status": {"hard": {"pods": "6"}, "used": {"pods": str(used)}}}
        others = {other: want for other, want in wants.items() if other != name}
        claims = list_claims(others, spec.priority, scene.now)
        scene.headroom = compute_headroom([quota], list_runner_costs(spec), claims)
        plan = scene.step()
        wants.pop(name, None)
        if plan.scaling.limit is not None and plan.scaling.limit.reason == "QuotaExceeded":
            wants[name] = compute_want(spec, plan.scaling.unserved, scene.now)

    nightly, urgent = pools.values()
    nightly.poll(*range(1, 9))
    step("nightly")
    start_all(nightly)
    for scene in pools.values():
        scene.wait(10)
    urgent.poll(101, 102)
    step("urgent")
    nightly.end(0, 1)
    nightly.end(1, 2)
    nightly.poll(7, 8)
    step("nightly")  # what has ended is removed; its room is not for the next night job
    step("urgent")
    nightly.end(2, 3)
    step("nightly")
    step("nightly")
    assert nightly.log == [
        "0 s: Created: 6 pods, for jobs 1, 2, 3, 4, 5 and 1 more",
        "0 s: limited: QuotaExceeded: 2 of 8 pods are not created: ResourceQuota six: 0 of 6 pods are used",
        "10 s: limited: QuotaExceeded: 2 of 2 pods are not created: "
        "ResourceQuota six: 6 of 6 pods are used, 2 kept for pool urgent, whose priority is 10",
        "10 s: limited: QuotaExceeded: 2 of 2 pods are not created: ResourceQuota six: 6 of 6 pods are used",
        "10 s: Created: 1 pod, for job 7",
        "10 s: limited: QuotaExceeded: 1 of 2 pods is not created: ResourceQuota six: 5 of 6 pods are used",
    ]
    assert urgent.log == [
        "10 s: limited: QuotaExceeded: 2 of 2 pods are not created: ResourceQuota six: 6 of 6 pods are used",
        "10 s: Created: 2 pods, for jobs 101, 102",
    ]


def test_jobs_that_a_list_had_no_room_for_wait_on() -> None:
    scene = Scene(max=4)
    scene.poll(1, 2)
    scene.wait(60)
    scene.poll(3, 4, complete=False)
    assert [waiting.job.id for waiting in scene.board.list_jobs()] == [1, 2, 3, 4]
    scene.board.close_job(1, scene.now)
    began = scene.now
    scene.wait(5)
    scene.board.close_job(3, scene.now)
    scene.now = began  # a poll that began before that was heard
    scene.poll(3, 4, 5, complete=False)
    assert [waiting.job.id for waiting in scene.board.list_jobs()] == [2, 4, 5]
    scene.poll(4, 5)
    assert [waiting.job.id for waiting in scene.board.list_jobs()] == [4, 5]


def test_a_pod_without_its_job_is_deleted_only_where_the_list_is_whole_or_the_job_known_to_be_gone() -> None:
    scene = Scene(max=3)
    scene.poll(1, 2, 3)
    scene.step()
    scene.board = Board()  # the operator was started again
    scene.wait(600)
    scene.poll(8, 9, complete=False)
    scene.step()
    assert [pod.job for pod in scene.pods.values()] == ["1", "2", "3"]
    scene.board.close_job(2, scene.now)
    scene.step()
    assert {pod.job for pod in scene.pods.values()} == {"1", "3", "8"}
    scene.poll(3, 8, 9)
    scene.step()
    assert {pod.job for pod in scene.pods.values()} == {"3", "8", "9"}


def delete_all(scene: Scene) -> None:
    """A user deletes all pods: those with a job finish it."""
    scene.pods = {slot: replace(pod, state=RunnerPodState.DRAINING) for slot, pod in scene.pods.items()}


def test_pods_that_were_deleted_and_finish_their_jobs_count_in_max() -> None:
    scene = Scene(max=2)
    scene.poll(1, 2)
    scene.step()
    start_all(scene)
    delete_all(scene)
    scene.wait(20)
    scene.poll(3)
    plan = scene.step()
    assert plan.scaling.limit is not None
    assert (plan.scaling.limit.reason, len(scene.pods)) == ("Max", 2)
    scene.end(0, 1)
    scene.step()
    assert {pod.job for pod in scene.pods.values()} == {"2", "3"}


def test_however_many_pods_are_on_their_way_out_there_is_a_slot_for_each_new_one() -> None:
    scene = Scene(min=2, max=2)
    for round_ in range(5):
        scene.step()
        start_all(scene)
        assert len(scene.pods) == 2 * (round_ + 1)
        delete_all(scene)
        scene.wait(1)

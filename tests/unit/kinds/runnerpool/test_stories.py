"""What ``decide`` does over many rounds, and when it is due again: what the golden stories beside this don't show."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from tests.unit.kinds.runnerpool.scenes import START, Scene


def test_no_second_pod_for_a_job_that_a_pod_was_sent_for() -> None:
    scene = Scene()
    scene.poll(1)
    for _ in range(5):
        scene.step()
        scene.wait(0.5)
        scene.poll(1)
    assert len(scene.pods) == 1


def test_a_pod_that_took_another_job_leaves_its_own_to_a_further_one() -> None:
    scene = Scene()
    scene.poll(1)
    scene.step()
    scene.start(0)
    scene.wait(60)  # far beyond the time in which GitLab answers: it runs something else
    scene.poll(1)
    scene.step()
    assert [pod.job for pod in scene.pods.values()] == ["1", "1"]


def test_a_job_that_gitlab_gives_to_none_is_tried_ever_more_rarely() -> None:
    scene = Scene()
    created = []
    for _ in range(300):
        scene.poll(1)
        scene.step()
        for slot in list(scene.pods):
            created.append((scene.now - START).total_seconds())
            scene.end(slot)
        scene.wait(1)
    waits = [later - earlier for earlier, later in pairwise(created)]
    assert len(waits) == 7
    assert waits == sorted(waits)


def test_without_knowledge_of_demand_min_runners_ask_for_themselves() -> None:
    scene = Scene(min=1)
    scene.blind = True
    plan = scene.step()
    assert [pod.job for pod in scene.pods.values()] == ["any"]
    condition = plan.status.condition("DemandKnown")
    assert condition is not None
    assert condition.status == "False"


def test_a_schedule_raises_min_and_what_waits_longer_than_idle_seconds_goes() -> None:
    morning = {"name": "morning", "start": "0 7 * * 1-5", "durationSeconds": 3600, "min": 2}
    scene = Scene(schedules=[morning], idleSeconds=60)
    plan = scene.step()
    assert (len(scene.pods), plan.wake_after) == (0, 3600)
    scene.wait(3600)
    plan = scene.step()
    assert (len(scene.pods), plan.status.min, plan.wake_after) == (2, 2, 3600)
    scene.start(0, 1)
    scene.wait(3600)
    scene.step()
    assert len(scene.pods) == 0


def test_waiting_pods_of_an_earlier_spec_are_replaced_and_no_job_dies() -> None:
    scene = Scene(min=2)
    scene.step()
    scene.start(0, 1)
    scene.poll(5)
    scene.step()
    scene.template = "t2"
    scene.wait(1)
    scene.step()
    assert sorted((pod.job or "", pod.template) for pod in scene.pods.values()) == [("", "t2"), ("5", "t1")]


def test_pods_that_fail_without_a_job_make_the_pool_wait_longer_each_time() -> None:
    scene = Scene()
    waits = []
    for number in range(1, 12):
        scene.poll(number)
        scene.step()
        (slot,) = scene.pods
        scene.end(slot, failed="Error")
        plan = scene.step()
        assert plan.status.back_off is not None
        assert plan.status.back_off.until is not None
        wait = plan.status.back_off.until - scene.now
        waits.append(wait / timedelta(seconds=1))
        scene.now = plan.status.back_off.until
    assert waits[:7] == [5, 10, 20, 40, 80, 160, 300]
    assert max(waits) == 300


def test_each_cause_makes_the_pool_wait_for_its_own_failures() -> None:
    scene = Scene()
    waits: list[tuple[str, float]] = []
    for number, cause in enumerate(["Error", "Error", "OOMKilled", "Error", "OOMKilled", "OOMKilled"], start=1):
        scene.poll(number)
        scene.step()
        (slot,) = scene.pods
        scene.end(slot, failed=cause)
        back_off = scene.step().status.back_off
        assert back_off is not None
        assert back_off.until is not None
        waits.append((back_off.cause, (back_off.until - scene.now).total_seconds()))
        scene.now = back_off.until
    assert [wait for cause, wait in waits if cause == "Error"] == [5, 10, 20]
    assert [wait for cause, wait in waits if cause == "OOMKilled"] == [5, 10, 20]


def test_pods_that_fail_one_after_the_other_and_were_started_together_are_one_failure() -> None:
    """Such as those of a node that is lost, or that a user deletes."""
    scene = Scene()
    scene.poll(1, 2, 3)
    scene.step()
    for slot in (0, 1, 2):
        scene.wait(1)
        scene.end(slot, failed="PodDeleted")
        plan = scene.step()
    assert plan.status.back_off is not None
    end = START + timedelta(seconds=1 + 5)
    assert (plan.status.back_off.failures, plan.status.back_off.until) == (1, end)
    scene.now = end
    scene.poll(1, 2, 3)
    scene.step()
    scene.end(0, failed="PodDeleted")
    plan = scene.step()
    assert plan.status.back_off is not None
    assert plan.status.back_off.failures == 2


def test_a_job_taken_clears_the_back_off() -> None:
    scene = Scene()
    scene.poll(1)
    scene.step()
    scene.end(0, failed="Error")
    scene.step()
    scene.wait(6)
    scene.poll(1)
    scene.step()
    scene.start(0)
    scene.end(0, 1)
    plan = scene.step()
    assert plan.status.back_off is None


def test_a_pod_that_does_not_start_goes_when_its_job_is_cancelled_and_only_then() -> None:
    scene = Scene(max=1)
    scene.poll(1, 2)
    scene.step()
    scene.wait(600)  # a node is being added: a pod that waits for it is not recreated
    scene.poll(1, 2)
    scene.step()
    assert [pod.job for pod in scene.pods.values()] == ["1"]
    scene.poll(2)
    scene.step()
    scene.step()
    assert [pod.job for pod in scene.pods.values()] == ["2"]
    assert "600 s: Retired: 1 pod that did not start yet, as the job waits no more" in scene.log


def test_a_pod_that_must_have_its_answer_by_then_is_looked_at_again() -> None:
    scene = Scene()
    scene.poll(1)
    scene.step()
    scene.wait(2)
    scene.start(0)
    scene.poll(1)
    assert scene.step().wake_after == 10
    scene.poll()
    assert scene.step().wake_after is None


def test_pods_that_wait_go_at_once_where_max_is_passed() -> None:
    scene = Scene(min=3, max=3, idleSeconds=3600)
    scene.step()
    scene.start(0, 1, 2)
    scene.change_spec(min=0, max=2, idleSeconds=3600)
    plan = scene.step()
    assert (len(scene.pods), plan.wake_after) == (2, 3600)


def test_a_pod_whose_job_went_to_another_pod_stands_for_the_job_that_is_left() -> None:
    scene = Scene()
    scene.poll(1, 2)
    scene.step()
    scene.wait(2)
    scene.start(1)
    scene.end(1, 1)  # sent for job 2, it was given job 1: the oldest
    scene.poll(2)
    scene.step()
    scene.step()
    assert [pod.job for pod in scene.pods.values()] == ["1"]
    scene.wait(60)  # however long it takes to start
    scene.poll(2)
    scene.step()
    assert [pod.job for pod in scene.pods.values()] == ["1"]
    scene.start(0)
    scene.end(0, 2)
    scene.poll()
    scene.step()
    assert (scene.pods, scene.log) == ({}, ["0 s: Created: 2 pods, for jobs 1, 2"])


@pytest.mark.parametrize("ends", [True, False])
def test_a_pod_that_takes_none_after_its_own_job_went_to_another_stands_for_nothing_any_more(ends: bool) -> None:
    scene = Scene()
    scene.poll(1, 2)
    scene.step()
    scene.start(0, 1)
    scene.end(1, 1)
    scene.poll(2)
    scene.step()
    if ends:
        scene.end(0)
    scene.wait(11)  # GitLab's answer is certain by now
    scene.poll(2)
    scene.step()
    scene.step()
    assert "2" in [pod.job for pod in scene.pods.values()]
    assert scene.log == ["0 s: Created: 2 pods, for jobs 1, 2", "11 s: Created: 1 pod, for job 2"]

"""A job can write its pod's last word and end it as it likes: that makes no failure of the pool's.

What counts is GitLab's word: a pod has failed before it took its job only if that job still waits afterwards.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bessemer.kinds.runnerpool.facts import CLAIM_WINDOW
from tests.support.examples import examples
from tests.support.pool_world import KEY, PoolWorld, open_pool_world
from tests.unit.kinds.runnerpool.pods.test_foreign_pods import LAST_WORDS
from tests.unit.kinds.runnerpool.pool_story import leave_out_pauses

POD = "lab-runner-0"
FORBIDDEN = json.dumps({"outcome": "Forbidden", "jobs": [], "said": "403"})
OUTCOMES = st.sampled_from(["NoJob", "JobTaken", "Forbidden", "NoConfiguration", "NotAnswered", "Welcome"])
NUMBERS = st.lists(st.integers(1, 12) | st.integers(), max_size=4)
WORDS = (
    st.fixed_dictionaries({"outcome": OUTCOMES, "jobs": NUMBERS}, optional={"said": st.text(max_size=20)}).map(
        json.dumps
    )
    | st.sampled_from(["", *LAST_WORDS])
    | st.text(max_size=40)
)
ENDS = st.tuples(WORDS, st.integers(0, 255), st.sampled_from(["Completed", "Error", "OOMKilled", "", "StartError"]))


def end(world: PoolWorld, word: str, exit_code: int, reason: str) -> None:
    """End the pod as its job, or its entry point, would have it."""
    started = world.pods()[POD]["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    ended = {"startedAt": started, "finishedAt": world.clock[0].isoformat()}
    ended |= {"exitCode": exit_code, "reason": reason, "message": word}
    status = {
        "phase": "Failed" if exit_code else "Succeeded",
        "containerStatuses": [{"name": "runner", "state": {"terminated": ended}}],
    }
    world.kubernetes.edit("pods", KEY[0], POD, {"status": status})


async def run_pod(world: PoolWorld, number: int) -> None:
    """Have a pod run that was sent for a job."""
    await world.apply()
    await world.settle()
    world.queue(number)
    await world.settle()
    world.start_pods()
    await world.settle()


async def poll(world: PoolWorld) -> None:
    """Have GitLab say which jobs wait, a second later."""
    world.pass_time(1)
    world.queue()
    await world.settle()


async def forge(word: str, exit_code: int, reason: str, seconds: float) -> None:
    async with open_pool_world() as world:
        await run_pod(world, 7)
        world.gitlab.jobs.clear()  # the pod has it
        world.pass_time(seconds)
        end(world, word, exit_code, reason)
        await world.settle()
        assert world.pods() == {}, "it is collected at once"
        world.queue(8)
        await poll(world)
        assert "backOff" not in world.status()
        assert world.condition("ScalingLimited") == ("False", "Unlimited")
        assert [pod["metadata"]["annotations"]["bessemer.dev/job"] for pod in world.pods().values()] == ["8"]
        assert world.memory.doubtful == []


@pytest.mark.parametrize("seconds", [0, 2, CLAIM_WINDOW.total_seconds() + 1])
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ended=ENDS)
@example(ended=(FORBIDDEN, 1, "Error"))
@example(ended=("", 137, "Error"))
@example(ended=("", 1, "StartError"))
def test_whatever_a_job_makes_of_its_pod_the_next_job_gets_one_at_once(
    ended: tuple[str, int, str], seconds: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pauses(patch)
        asyncio.run(forge(*ended, seconds))


async def fail(word: str, exit_code: int) -> dict[str, Any]:
    async with open_pool_world() as world:
        await run_pod(world, 7)
        end(world, word, exit_code, "Error")
        await world.settle()
        assert "backOff" not in world.status(), "GitLab was not asked since"
        await poll(world)
        assert world.memory.doubtful == []
        found: dict[str, Any] = world.status()["backOff"]
        await poll(world)
        assert world.status()["backOff"] == found, "it counts once"
        return found


@pytest.mark.parametrize(
    ("word", "cause"),
    [(FORBIDDEN, "Forbidden"), ('{"outcome":"NoConfiguration","jobs":[],"said":""}', "NoConfiguration"), ("", "Error")],
)
def test_a_pod_that_fails_while_its_job_still_waits_makes_the_pool_pause(word: str, cause: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pauses(patch)
        assert asyncio.run(fail(word, 1))["cause"] == cause


async def test_a_pod_that_never_ran_is_a_failure_without_gitlabs_word(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.queue(7)
    await world.settle()
    # As containerd says it of a program that is not there.
    never = {"startedAt": "1970-01-01T00:00:00Z", "finishedAt": world.clock[0].isoformat()}
    never |= {"exitCode": 128, "reason": "StartError", "message": "exec: no such file"}  # type: ignore[dict-item]  # a number among texts
    states = [{"name": "runner", "state": {"terminated": never}}]
    status = {"phase": "Failed", "containerStatuses": states}
    world.kubernetes.edit("pods", KEY[0], POD, {"spec": {"nodeName": "n"}, "status": status})
    await world.settle()
    assert world.status()["backOff"]["cause"] == "StartError"


async def test_a_pod_that_fails_before_it_was_sent_is_a_failure_without_gitlabs_word(world: PoolWorld) -> None:
    await world.apply(min=1)
    await world.settle()
    world.start_pods()
    await world.settle()
    world.end_pod(POD, exit_code=1, reason="Error", outcome="NoConfiguration")
    await world.settle()
    assert world.status()["backOff"]["cause"] == "NoConfiguration"


async def test_where_gitlab_does_not_say_a_failure_that_a_job_may_have_forged_does_not_count(world: PoolWorld) -> None:
    await run_pod(world, 7)
    end(world, FORBIDDEN, 1, "Error")
    await world.settle()
    assert len(world.memory.doubtful) == 1
    await world.apply(gitlab={"url": "http://gitlab.example", "scope": {"type": "Project", "path": "hpc"}})
    await world.settle()
    assert "backOff" not in world.status()
    assert world.memory.doubtful == []

"""Many jobs, and an operator that is killed again and again: each job runs once, and nothing is left."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.disturbance import kill_operator
from tests.support.runners import PROJECT, Runners, assert_whole_log, write_lines

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

POOLS = 5
JOBS = 200
JOBS_SECONDS = 900
"""For 200 jobs with at most 40 pods on a machine with two cores: several times what it takes."""
KILLS = 10
LINES = 200
"""Of each job's log."""


def build_jobs(count: int, seconds: int) -> list[dict[str, Any]]:
    """Make jobs for all pools; each writes a log that shows whether any of it is missing."""
    script = [write_lines(LINES - 1), f"sleep {seconds}", write_lines(1, LINES)]
    return [{"name": f"job {number}", "tags": [f"pool-{number % POOLS}"], "script": script} for number in range(count)]


def assert_each_ran_once(done: dict[int, dict[str, Any]]) -> None:
    assert {(job["status"], job["claims"]) for job in done.values()} == {("success", 1)}
    for job in done.values():
        assert_whole_log(job, LINES)


def test_two_hundred_jobs_over_five_pools_run_once_each_and_leave_nothing(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    for number in range(POOLS):
        apply_pool(f"pool-{number}", [f"pool-{number}"], max=8)
    jobs = runners.gitlab.run_jobs(PROJECT, *build_jobs(JOBS, 1))
    assert_each_ran_once(runners.wait_for_jobs(jobs, JOBS_SECONDS))
    runners.wait_until_empty()
    runners.delete_pools(*(f"pool-{number}" for number in range(POOLS)))


def test_an_operator_that_is_killed_again_and_again_loses_no_job_and_runs_none_twice(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    for number in range(POOLS):
        apply_pool(f"pool-{number}", [f"pool-{number}"], max=4)
    moments = random.Random(KILLS)  # noqa: S311  to be the same again
    jobs = []
    for _ in range(KILLS):
        jobs += runners.gitlab.run_jobs(PROJECT, *build_jobs(6, 2))
        time.sleep(moments.uniform(0, 6))  # a random moment is what the test is about
        kill_operator(runners)
    assert_each_ran_once(runners.wait_for_jobs(jobs, JOBS_SECONDS))
    runners.wait_until_empty()

"""What happens to jobs: stages, cancel, retry, being given up; and their logs."""

from __future__ import annotations

import pytest

from gitlab_simulator.jobs import (
    OUTDATED_PENDING_SECONDS,
    STUCK_PENDING_SECONDS,
    STUCK_RUNNING_SECONDS,
    NotAllowedError,
    cancel_job,
    finish_job,
    give_up_stuck_jobs,
    retry_job,
)
from gitlab_simulator.model import Job, JobStatus
from gitlab_simulator.queues import claim_job, heartbeat
from gitlab_simulator.state import Changed, GitLabState
from gitlab_simulator.traces import append_trace, compute_checksum, compute_trace_is_whole, parse_range
from scenes import START, add_jobs, add_runner, build_state


def _claim(state: GitLabState, **features: bool) -> Job:
    runner = next(iter(state.runners.values()), None) or add_runner(state)
    job = claim_job(state, runner, heartbeat(state, runner, "r_1", {"features": features}, ""), "test")
    assert job is not None
    return job


def test_a_stage_begins_when_the_one_before_is_done() -> None:
    state = build_state()
    first, second = add_jobs(state, {"stage": "build"}, {"stage": "test"})
    assert (first.status, second.status) == (JobStatus.PENDING, JobStatus.CREATED)
    finish_job(state, _claim(state), success=True)
    assert second.status is JobStatus.PENDING


def test_after_a_failure_only_jobs_that_want_it_begin() -> None:
    state = build_state()
    _, normal, cleanup = add_jobs(
        state, {"stage": "build"}, {"stage": "test"}, {"stage": "test", "when": "on_failure"}
    )  # fmt: skip
    finish_job(state, _claim(state), success=False, reason="script_failure")
    assert (normal.status, cleanup.status) == (JobStatus.SKIPPED, JobStatus.PENDING)


@pytest.mark.parametrize(("graceful", "status"), [(True, JobStatus.CANCELING), (False, JobStatus.CANCELED)])
def test_a_running_job_is_canceling_only_if_its_runner_can_do_that(graceful: bool, status: JobStatus) -> None:
    state = build_state()
    add_jobs(state)
    job = _claim(state, cancel_gracefully=graceful)
    cancel_job(state, job)
    assert job.status is status


def test_what_was_canceling_ends_as_canceled_whatever_the_runner_says() -> None:
    state = build_state()
    add_jobs(state)
    job = _claim(state, cancel_gracefully=True)
    cancel_job(state, job)
    finish_job(state, job, success=True)
    assert job.status is JobStatus.CANCELED
    with pytest.raises(NotAllowedError):
        cancel_job(state, job)


def test_a_failed_job_is_tried_again_as_a_new_one_for_the_reasons_given() -> None:
    state = build_state()
    add_jobs(state, {"retry": {"max": 1, "when": ["runner_system_failure"]}})
    job = _claim(state)
    finish_job(state, job, success=False, reason="runner_system_failure")
    again = _claim(state)
    assert job.retried
    assert again.id != job.id
    finish_job(state, again, success=False, reason="runner_system_failure")
    assert [j.status for j in state.jobs.values()] == [JobStatus.FAILED, JobStatus.FAILED]
    with pytest.raises(NotAllowedError):
        retry_job(state, job)


def test_a_job_without_an_update_is_given_up_after_an_hour() -> None:
    state = build_state()
    add_jobs(state)
    job = _claim(state)
    state.clock.advance(STUCK_RUNNING_SECONDS - 1)
    give_up_stuck_jobs(state)
    assert job.status is JobStatus.RUNNING
    state.clock.advance(1)
    give_up_stuck_jobs(state)
    assert (job.status, job.failure_reason) == (JobStatus.FAILED, "stuck_or_timeout_failure")


def test_a_pending_job_is_given_up_after_an_hour_without_a_runner_and_after_a_day_with_one() -> None:
    state = build_state()
    add_runner(state, tag_list=["gpu"])
    stuck, waiting = add_jobs(state, {"tags": ["other"]}, {"tags": ["gpu"]})
    state.clock.advance(STUCK_PENDING_SECONDS)
    give_up_stuck_jobs(state)
    assert (stuck.status, waiting.status) == (JobStatus.FAILED, JobStatus.PENDING)
    state.clock.advance(OUTDATED_PENDING_SECONDS)
    give_up_stuck_jobs(state)
    assert waiting.status is JobStatus.FAILED


def test_listeners_are_told_of_every_status_once() -> None:
    state = build_state()
    told: list[JobStatus] = []

    def listen(change: Changed) -> None:
        if change.kind == "job":
            told.append(state.jobs[change.id].status)

    state.listeners.append(listen)
    add_jobs(state)
    finish_job(state, _claim(state), success=True)
    assert told == [JobStatus.CREATED, JobStatus.PENDING, JobStatus.RUNNING, JobStatus.SUCCESS]


@pytest.mark.parametrize(
    ("header", "found"), [("0-9", (0, 9)), ("5-5", (5, 5)), (None, None), ("", None), ("-5", None), ("a-b", None)]
)
def test_ranges_are_read(header: str | None, found: tuple[int, int] | None) -> None:
    assert parse_range(header) == found


def test_a_log_grows_by_patches_that_follow_and_takes_one_sent_again() -> None:
    state = build_state()
    (job,) = add_jobs(state)
    assert append_trace(job, 0, 4, b"hello", START).status == 202
    assert append_trace(job, 5, 6, b"!!", START).size == 7
    assert append_trace(job, 5, 7, b" 42", START).size == 8
    assert bytes(job.trace) == b"hello 42"


@pytest.mark.parametrize(("start", "end", "data"), [(6, 6, b"x"), (5, 9, b"x"), (0, 0, b"xx")])
def test_a_patch_that_does_not_fit_changes_nothing(start: int, end: int, data: bytes) -> None:
    state = build_state()
    (job,) = add_jobs(state)
    append_trace(job, 0, 4, b"hello", START)
    answer = append_trace(job, start, end, data, START)
    assert (answer.status, answer.size, bytes(job.trace)) == (416, 5, b"hello")


def test_a_log_is_whole_if_size_and_checksum_are_right() -> None:
    state = build_state()
    (job,) = add_jobs(state)
    append_trace(job, 0, 4, b"hello", START)
    good = compute_checksum(b"hello")
    assert good == "crc32:3610a686"
    assert compute_trace_is_whole(job, {"output": {"checksum": good, "bytesize": 5}})
    assert compute_trace_is_whole(job, {})
    assert not compute_trace_is_whole(job, {"output": {"checksum": good, "bytesize": 6}})
    assert not compute_trace_is_whole(job, {"output": {"checksum": "crc32:00000000", "bytesize": 5}})


def test_jobs_of_one_name_in_a_pipeline_are_told_apart_as_gitlab_does() -> None:
    jobs = add_jobs(build_state(), {"name": "train"}, {"name": "lint"}, {"name": "train"})
    assert [job.name for job in jobs] == ["train 1/2", "lint", "train 2/2"]

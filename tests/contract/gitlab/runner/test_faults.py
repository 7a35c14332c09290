"""A GitLab in trouble when GitLab's own runner asks for a job: what the runner does, and that the pod outlasts it.

A request that hangs is waited for: `run-single` heeds neither its --wait-timeout nor QUIT until there is an answer.
422, which GitLab says to a runner whose project is gone, is no refusal as 403 is: the runner asks again after its pause
of three seconds.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.contract.gitlab.runner.conftest import Pod
from tests.contract.gitlab.runner.test_traps import POLL, SOON, count_polls, read_status, start_manager

LONG = 6
"""Seconds: longer than the pause of 3 s and the --wait-timeout of 1 s together."""


def stays(pod: Pod) -> bool:
    """Whether the pod is still there after a while."""
    with pytest.raises(subprocess.TimeoutExpired):
        pod.wait(LONG)
    return True


def test_why_its_only_request_failed_is_told_in_the_runners_own_words(pod: Pod) -> None:
    configuration = (pod.folder / "home" / "config.toml").read_text()
    pod.site.control.switch_fault(route=POLL, status=422)
    pod.start("1001")
    assert pod.wait(SOON) == (0, "NoJob", [])
    assert "422" in read_said(pod)
    for path in (pod.folder / "home").iterdir():
        path.unlink()
    away = configuration.replace(pod.site.url, "http://127.0.0.1:9")
    (pod.folder / "home" / "config.toml").write_text(away)
    pod.start("1001")
    assert pod.wait(SOON) == (0, "NoJob", [])
    assert "connection refused" in read_said(pod)


def read_said(pod: Pod) -> str:
    """Return why the runner got no job, as the pod's last word has it."""
    return str(json.loads((pod.folder / "termination").read_text())["said"])


@pytest.mark.parametrize("sent_for", ["a job", "any"])
def test_a_request_that_hangs_is_waited_for_and_the_job_that_it_brings_is_run(pod: Pod, sent_for: str) -> None:
    job = pod.run_job("echo to the end")
    pod.site.control.switch_fault(route=POLL, kind="hang")
    pod.start("any" if sent_for == "any" else str(job))
    pod.wait_until(lambda: count_polls(pod) == 1)
    assert stays(pod)
    assert (count_polls(pod), read_status(pod, job)) == (1, "pending")
    assert pod.site.control.clear_faults() == 1
    assert pod.wait() == (0, "JobTaken", [job])
    assert read_status(pod, job) == "success"
    assert "to the end" in pod.site.control.jobs()[job]["trace"]


def test_a_pod_told_to_end_while_its_request_hangs_ends_with_the_answer_and_loses_no_job(pod: Pod) -> None:
    job, later = pod.run_job("echo to the end"), pod.run_job("true")
    pod.site.control.switch_fault(route=POLL, kind="hang")
    pod.start(str(job))
    pod.wait_until(lambda: count_polls(pod) == 1)
    pod.stop()
    assert stays(pod)
    pod.site.control.clear_faults()
    assert pod.wait() == (0, "JobTaken", [job])
    assert (read_status(pod, job), read_status(pod, later)) == ("success", "pending")


def test_a_pod_whose_request_hung_for_nothing_ends_as_one_without_a_job(pod: Pod) -> None:
    pod.site.control.switch_fault(route=POLL, kind="hang")
    pod.start("1001")
    pod.wait_until(lambda: count_polls(pod) == 1)
    assert stays(pod)
    pod.site.control.clear_faults()
    assert pod.wait(SOON) == (0, "NoJob", [])
    assert count_polls(pod) == 1


def test_an_update_that_hangs_delays_a_job_and_does_not_lose_it(pod: Pod) -> None:
    job = pod.run_job("echo to the end")
    pod.site.control.switch_fault(route=f"PUT /api/v4/jobs/{job}", kind="hang")
    pod.start(str(job))
    pod.wait_until(lambda: read_status(pod, job) == "running")
    assert stays(pod)
    assert read_status(pod, job) == "running"
    pod.site.control.clear_faults()
    assert pod.wait() == (0, "JobTaken", [job])
    assert read_status(pod, job) == "success"


def test_after_a_422_a_pod_sent_for_a_job_ends_and_the_next_one_runs_it(pod: Pod) -> None:
    job = pod.run_job("true")
    configuration = (pod.folder / "home" / "config.toml").read_text()
    pod.site.control.switch_fault(route=POLL, status=422)
    pod.start(str(job))
    assert pod.wait(SOON) == (0, "NoJob", [])
    assert (count_polls(pod), read_status(pod, job)) == (1, "pending")
    pod.site.control.clear_faults()
    for path in (pod.folder / "home").iterdir():
        path.unlink()
    (pod.folder / "home" / "config.toml").write_text(configuration)
    pod.start(str(job))
    assert pod.wait() == (0, "JobTaken", [job])


@pytest.mark.parametrize("fault", [{"status": 422}, {"kind": "reset"}])
def test_after_a_422_or_a_reset_a_pod_that_asks_for_any_job_asks_again_and_runs_one(
    pod: Pod, fault: dict[str, object]
) -> None:
    pod.change_gitlab(claim_on_dropped_connection=False)  # it would be an orphan, which no runner can help
    job = pod.run_job("true")
    pod.site.control.switch_fault(route=POLL, times=2, **fault)
    pod.start("any")
    assert pod.wait() == (0, "JobTaken", [job])
    assert (count_polls(pod), read_status(pod, job)) == (3, "success")


def test_a_manager_outlasts_requests_that_hang_and_422s_that_would_switch_it_off_if_they_were_refusals(
    pod: Pod,
) -> None:
    pod.site.control.switch_fault(route=POLL, status=422, times=4)
    start_manager(pod)
    first = pod.run_job("true")
    pod.wait_until(lambda: read_status(pod, first) == "success")
    pod.site.control.switch_fault(route=POLL, kind="hang")
    second = pod.run_job("true")
    assert stays(pod)
    assert read_status(pod, second) == "pending"
    pod.site.control.clear_faults()
    pod.wait_until(lambda: read_status(pod, second) == "success")
    pod.kill()

"""What a runner pod runs, with GitLab's own runner in it, against the simulator."""

from __future__ import annotations

import signal

import pytest

from tests.contract.gitlab.runner.conftest import Pod


def test_sent_for_a_job_it_takes_one_and_ends(pod: Pod) -> None:
    job, later = pod.run_job("echo the answer is $((6 * 7))"), pod.run_job("true")
    pod.start(str(job))
    assert pod.wait() == (0, "JobTaken", [job])
    jobs = pod.site.control.jobs()
    assert (jobs[job]["status"], jobs[job]["system_id"]) == ("success", "r_0123456789ab")
    assert "the answer is 42" in jobs[job]["trace"]
    assert jobs[later]["status"] == "pending"


def test_sent_for_a_job_that_another_runner_took_it_asks_once_and_ends(pod: Pod) -> None:
    pod.start("1001")
    assert pod.wait() == (0, "NoJob", [])
    assert pod.site.control.requests()["POST /api/v4/jobs/request"] == 1


def test_while_it_waits_it_asks_gitlab_for_nothing_and_ends_at_once(pod: Pod) -> None:
    pod.start()
    pod.wait_until(lambda: "waits to be sent" in pod.log())
    pod.stop()
    assert pod.wait() == (0, "NoJob", [])
    assert "POST /api/v4/jobs/request" not in pod.site.control.requests()


def test_sent_while_it_waits_it_takes_the_job(pod: Pod) -> None:
    pod.start()
    job = pod.run_job("true")
    pod.send(str(job))
    assert pod.wait() == (0, "JobTaken", [job])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_job_ends_before_the_pod_does(pod: Pod, number: signal.Signals) -> None:
    job, later = pod.run_job("sleep 2; echo to the end"), pod.run_job("true")
    pod.start(str(job))
    pod.wait_until(lambda: pod.site.control.jobs()[job]["status"] == "running")
    pod.stop(number)
    assert pod.wait() == (0, "JobTaken", [job])
    jobs = pod.site.control.jobs()
    assert (jobs[job]["status"], jobs[later]["status"]) == ("success", "pending")
    assert "to the end" in jobs[job]["trace"]


def test_a_failed_job_is_the_jobs_business(pod: Pod) -> None:
    job = pod.run_job("exit 3")
    pod.start(str(job))
    assert pod.wait() == (0, "JobTaken", [job])
    done = pod.site.control.jobs()[job]
    assert (done["status"], done["failure_reason"], done["exit_code"]) == ("failed", "script_failure", 3)


def test_refused_by_gitlab_it_does_not_sleep_five_minutes(pod: Pod) -> None:
    pod.site.control.switch_fault(route="POST /api/v4/jobs/request", status=403)
    pod.start("1001")
    assert pod.wait() == (1, "Forbidden", [])


def test_the_token_is_in_no_file_when_the_job_runs(pod: Pod) -> None:
    job = pod.run_job(f"cp -r {pod.folder}/home/.runner_system_id {pod.folder}/seen; ls -la {pod.folder}/home")
    pod.start(str(job))
    assert pod.wait()[1] == "JobTaken"
    kind = (pod.folder / "home" / "config.toml").stat().st_mode
    assert kind & 0o170000 == 0o010000  # a pipe, which nothing is in


def test_without_knowledge_of_jobs_it_goes_on_asking(pod: Pod) -> None:
    pod.start("any")
    pod.wait_until(lambda: pod.site.control.requests().get("POST /api/v4/jobs/request", 0) >= 1)
    job = pod.run_job("true")
    assert pod.wait() == (0, "JobTaken", [job])

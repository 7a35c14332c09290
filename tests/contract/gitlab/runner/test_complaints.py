"""What users of other systems complain of, where GitLab's own runner can show that it is not so here.

docs/user/complaints.md has all of it.
"""

from __future__ import annotations

from tests.contract.gitlab.runner.conftest import Pod

PROMPT_SECONDS = 5
"""Far less than a long poll of 50 s, on a busy machine."""


def test_no_job_waits_for_a_long_poll(pod: Pod) -> None:
    """A pod that waits asks for nothing, so its first request is the one that is answered with the job."""
    pod.start()
    pod.wait_until(lambda: "waits to be sent" in pod.log())
    job = pod.run_job("true")
    pod.send(str(job))
    assert pod.wait() == (0, "JobTaken", [job])
    done = pod.site.control.jobs()[job]
    assert done["started_at"] - done["pending_at"] < PROMPT_SECONDS
    assert pod.site.control.requests()["POST /api/v4/jobs/request"] == 1


def test_a_job_that_is_done_is_not_failed_by_the_end_of_its_pod(pod: Pod) -> None:
    """The last words of a job, its status among them, come after its script; a pod told to end lets them be said."""
    job = pod.run_job("sleep 1; echo to the end")
    pod.site.control.switch_fault(route=f"PUT /api/v4/jobs/{job}", kind="delay", seconds=1.5)
    pod.start(str(job))
    pod.wait_until(lambda: "to the end" in pod.site.control.jobs()[job]["trace"])
    pod.stop()
    assert pod.wait() == (0, "JobTaken", [job])
    assert pod.site.control.jobs()[job]["status"] == "success"

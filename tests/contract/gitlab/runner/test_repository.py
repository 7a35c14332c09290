"""What a job of GitLab's own runner gets from the repository, and what GitLab gets from the job."""

from __future__ import annotations

from typing import Any

import requests
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.contract.gitlab.runner.conftest import PROJECT, Pod

JUNIT = '<testsuite><testcase name="mpi" time="1"/></testsuite>'


def get_done(pod: Pod, job: int) -> dict[str, Any]:
    found: dict[str, Any] = pod.site.control.jobs()[job]
    assert found["status"] == "success", found["trace"]
    return found


def test_a_job_fetches_its_commit_also_where_the_branch_has_moved_on(pod: Pod) -> None:
    sha = pod.site.control.add_commit(PROJECT, files={"build.yaml": "nodes: 4\n"})
    job = pod.run_job("cat build.yaml", "git rev-parse HEAD")
    pod.site.control.add_commit(PROJECT, files={"build.yaml": "nodes: 8\n"})
    pod.start(str(job))
    assert pod.wait()[:2] == (0, "JobTaken")
    trace = get_done(pod, job)["trace"]
    assert "nodes: 4" in trace
    assert sha in trace


def test_a_job_of_a_merge_request_fetches_its_head(pod: Pod) -> None:
    pod.site.control.add_commit(PROJECT, files={"build.yaml": "nodes: 4\n"})
    pod.site.control.add_commit(PROJECT, branch="grow", files={"build.yaml": "nodes: 8\n"})
    project = pod.site.connect(pod.api_token).projects.get(PROJECT)
    project.mergerequests.create({"source_branch": "grow", "target_branch": "main", "title": "Grow"})
    script = ["cat build.yaml", "echo iid=$CI_MERGE_REQUEST_IID"]
    spec = {"tags": ["hpc"], "script": script}
    (job,) = pod.site.control.run_jobs(PROJECT, spec, merge_request=f"{PROJECT}!1")
    pod.start(str(job))
    assert pod.wait()[:2] == (0, "JobTaken")
    trace = get_done(pod, job)["trace"]
    assert "nodes: 8" in trace
    assert "iid=1" in trace


def test_the_reports_of_a_job_are_read(pod: Pod) -> None:
    script = ["echo ADDRESS=10.0.0.1 >build.env", f"echo '{JUNIT}' >junit.xml"]
    reports = {"dotenv": ["build.env"], "junit": ["junit.xml"]}
    (first, second) = pod.site.control.run_jobs(
        PROJECT,
        {"tags": ["hpc"], "stage": "build", "script": script, "artifacts": {"reports": reports}},
        {"tags": ["hpc"], "stage": "test"},
    )
    pod.start(str(first))
    assert pod.wait()[:2] == (0, "JobTaken")
    get_done(pod, first)
    got = requests.post(f"{pod.site.url}/api/v4/jobs/request", json={"token": pod.runner_token}, timeout=10).json()
    variables = {one["key"]: one["value"] for one in got["variables"]}
    assert (got["id"], variables["ADDRESS"]) == (second, "10.0.0.1")
    project = pod.site.connect(pod.api_token).projects.get(PROJECT)
    (pipeline,) = project.pipelines.list(get_all=True)
    assert project.pipelines.get(pipeline.id).test_report.get().success_count == 1


def test_a_job_proves_by_an_id_token_what_it_is_and_its_log_hides_the_token(pod: Pod) -> None:
    script = ["echo $PROOF", "printf '%s\\n' \"$PROOF\" >proof", "for n in {1..60}; do echo $n; sleep 1; done"]
    job = pod.run_job(*script, id_tokens={"PROOF": {"aud": "https://bessemer.test"}})
    pod.start(str(job))
    pod.wait_until(lambda: "[MASKED]" in pod.site.control.jobs()[job]["trace"])
    pod.wait_until(lambda: any(one.stat().st_size for one in pod.folder.glob("builds/**/proof")))
    token = next(pod.folder.glob("builds/**/proof")).read_text().strip()
    keys = KeySet.import_key_set(requests.get(f"{pod.site.url}/oauth/discovery/keys", timeout=10).json())
    claims = jwt.decode(token, keys, ["RS256"]).claims
    assert (claims["job_id"], claims["project_path"], claims["user_login"]) == (str(job), PROJECT, "root")
    pod.cancel_job(job)
    assert pod.wait()[:2] == (0, "JobTaken")

"""Jobs that are started by hand, cancelled and tried again; their artifacts and reports."""

from __future__ import annotations

import gzip
import io
import zipfile
from typing import Any

import pytest
import requests

from tests.contract.gitlab.conftest import Site
from tests.contract.gitlab.simulator.test_repository import open_project, refusal

LEVELS = {"developer": 30, "other": 30, "maintainer": 40}
JUNIT = b'<testsuite><testcase name="mpi" time="1"/></testsuite>'


@pytest.fixture
def tokens(site: Site) -> dict[str, str]:
    return site.control.seed(
        projects=[{"path": "hpc/site", "protected_branches": ["main"]}],
        users=[
            *({"username": name, "access": {"hpc": level}} for name, level in LEVELS.items()),
            {"username": "admin", "admin": True},
        ],
        tokens=[{"user": name, "name": name} for name in (*LEVELS, "admin")],
    )


def claim(site: Site, admin: str, **features: bool) -> dict[str, Any]:
    """Take the next job as a runner."""
    runner = site.control.create_runner(admin, runner_type="instance_type")
    body = {"token": runner["token"], "info": {"features": features}}
    return dict(requests.post(f"{site.url}/api/v4/jobs/request", json=body, timeout=10).json())


def test_a_manual_job_runs_for_the_user_who_starts_it_with_the_users_variables(
    site: Site, tokens: dict[str, str]
) -> None:
    number, later = site.control.run_jobs(
        "hpc/site", {"name": "cluster", "stage": "build", "when": "manual"}, {"stage": "test"}, ref="work"
    )
    project = open_project(site, tokens["developer"])
    assert project.jobs.get(number).status == "manual"
    assert project.jobs.get(later).status == "pending"  # it waits for no job that may be left out
    variables = [{"key": "CLUSTER", "value": "oxygen"}]
    path = f"/projects/hpc%2Fsite/jobs/{number}/play"
    site.connect(tokens["developer"]).http_post(path, post_data={"job_variables_attributes": variables})
    got = claim(site, tokens["admin"])
    assert (got["id"], project.jobs.get(number).user["username"]) == (number, "developer")
    assert [one["value"] for one in got["variables"] if one["key"] == "CLUSTER"] == ["oxygen"]


def test_a_manual_job_that_may_not_be_left_out_holds_the_pipeline(site: Site, tokens: dict[str, str]) -> None:
    number, later = site.control.run_jobs(
        "hpc/site", {"stage": "build", "when": "manual", "allow_failure": False}, {"stage": "test"}, ref="work"
    )
    project = open_project(site, tokens["developer"])
    assert (project.jobs.get(later).status, project.pipelines.list(get_all=True)[0].status) == ("created", "manual")
    project.jobs.get(number).play()
    assert project.pipelines.list(get_all=True)[0].status == "pending"


def test_on_a_protected_branch_maintainers_start_jobs(site: Site, tokens: dict[str, str]) -> None:
    (number,) = site.control.run_jobs("hpc/site", {"when": "manual"})
    assert refusal(open_project(site, tokens["developer"]).jobs.get(number).play)[0] == 403
    site.control.play_job(tokens["maintainer"], number)
    assert open_project(site, tokens["developer"]).jobs.get(number).user["username"] == "maintainer"


def test_a_job_that_is_tried_again_is_of_the_user_who_does_it(site: Site, tokens: dict[str, str]) -> None:
    (number,) = site.control.run_jobs("hpc/site", {}, ref="work", user="developer")
    project = open_project(site, tokens["other"])
    project.jobs.get(number).cancel()
    again: Any = project.jobs.get(number).retry()
    assert (again["user"]["username"], project.jobs.get(number).user["username"]) == ("other", "developer")


@pytest.mark.parametrize(("graceful", "status"), [(True, "canceling"), (False, "canceled")])
def test_a_runner_that_can_is_asked_to_stop_and_runs_after_script(
    site: Site, tokens: dict[str, str], graceful: bool, status: str
) -> None:
    (number,) = site.control.run_jobs("hpc/site", {"after_script": ["true"]}, ref="work")
    job = claim(site, tokens["admin"], cancel_gracefully=graceful)
    project = open_project(site, tokens["developer"])
    project.jobs.get(number).cancel()
    url, headers = f"{site.url}/api/v4/jobs/{number}", {"JOB-TOKEN": job["token"]}
    patch = {"Content-Range": "0-0", **headers}
    told = requests.patch(f"{url}/trace", data=b"x", headers=patch, timeout=10)
    assert (told.headers["Job-Status"], told.status_code) == (status, 202 if graceful else 403)
    own = requests.get(f"{site.url}/api/v4/job", headers=headers, timeout=10).status_code
    assert own == (200 if graceful else 401)  # the token lives as long as after_script
    done = requests.put(url, json={"token": job["token"], "state": "failed"}, timeout=10)
    assert done.status_code == (200 if graceful else 403)
    assert project.jobs.get(number).status == "canceled"
    assert refusal(lambda: project.jobs.get(number).cancel())[0] == 403


def test_artifacts_and_reports_are_read_and_leave_variables(site: Site, tokens: dict[str, str]) -> None:
    site.control.run_jobs("hpc/site", {"name": "build", "stage": "build"}, {"stage": "test"}, ref="work")
    job, archive = claim(site, tokens["admin"]), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("out/log", "text")
    for kind, content in (
        ("archive", archive.getvalue()),
        ("dotenv", gzip.compress(b"ADDRESS=10.0.0.1\n")),
        ("junit", gzip.compress(JUNIT)),
    ):
        assert upload(site, job, kind, content) == 201
    assert upload(site, job, "dotenv", b"not packed") == 400
    done = {"token": job["token"], "state": "success"}
    assert requests.put(f"{site.url}/api/v4/jobs/{job['id']}", json=done, timeout=10).ok
    project = open_project(site, tokens["developer"])
    found = project.jobs.get(job["id"])
    assert (found.artifact("out/log"), found.artifacts()) == (b"text", archive.getvalue())
    assert [(one["file_type"], one["file_format"]) for one in found.attributes["artifacts"]] == [
        ("archive", "zip"), ("dotenv", "gzip"), ("junit", "gzip"),
    ]  # fmt: skip
    tests = project.pipelines.get(found.pipeline["id"]).test_report.get()
    assert (tests.total_count, tests.test_suites[0]["name"]) == (1, "build")
    later = claim(site, tokens["admin"])
    assert [one["value"] for one in later["variables"] if one["key"] == "ADDRESS"] == ["10.0.0.1"]


def upload(site: Site, job: dict[str, Any], kind: str, content: bytes) -> int:
    return requests.post(
        f"{site.url}/api/v4/jobs/{job['id']}/artifacts?artifact_type={kind}",
        files={"file": (kind, content)},
        headers={"JOB-TOKEN": job["token"]},
        timeout=10,
    ).status_code


def test_a_pipeline_is_what_its_jobs_are(site: Site, tokens: dict[str, str]) -> None:
    """Source: lib/gitlab/ci/status/composite.rb"""
    optional = {"name": "may fail", "allow_failure": True}
    numbers = site.control.run_jobs("hpc/site", optional, {"name": "must pass"}, ref="work")
    pipeline = open_project(site, tokens["developer"]).pipelines
    said = []
    for state in ("failed", "success"):
        job = claim(site, tokens["admin"])
        assert job["id"] in numbers
        requests.put(f"{site.url}/api/v4/jobs/{job['id']}", json={"token": job["token"], "state": state}, timeout=10)
        said.append(pipeline.list(get_all=True)[0].status)
    assert said == ["pending", "success"]

"""Environments and deployments of other programs and of jobs, as python-gitlab understands them."""

from __future__ import annotations

from typing import Any

import pytest
import requests

import gitlab
from tests.contract.gitlab.conftest import Site
from tests.contract.gitlab.simulator.conftest import Receiver
from tests.contract.gitlab.simulator.fixtures import find_differences, read_fixture
from tests.contract.gitlab.simulator.test_repository import open_project, refusal

COMMITS = [{"files": {"build.yaml": "x\n"}}]


@pytest.fixture
def tokens(site: Site) -> dict[str, str]:
    return site.control.seed(
        projects=[{"path": "hpc/site", "commits": COMMITS}],
        users=[
            {"username": "reporter", "access": {"hpc": 20}},
            {"username": "developer", "access": {"hpc": 30}},
            {"username": "maintainer", "access": {"hpc": 40}},
            {"username": "admin", "admin": True},
        ],
        tokens=[{"user": name, "name": name} for name in ("reporter", "developer", "maintainer", "admin")],
    )


def start_job(site: Site, admin: str, **job: Any) -> dict[str, Any]:
    """Run a job of the developer; return what a runner gets."""
    site.control.run_jobs("hpc/site", job, user="developer")
    runner = site.control.create_runner(admin, runner_type="instance_type")
    answer: Any = gitlab.Gitlab(site.url).http_post("/jobs/request", post_data={"token": runner["token"]})
    return dict(answer)


def finish_job(site: Site, job: dict[str, Any], state: str = "success") -> None:
    url = f"{site.url}/api/v4/jobs/{job['id']}"
    assert requests.put(url, json={"token": job["token"], "state": state}, timeout=10).ok


def test_a_deployment_goes_from_running_to_its_end(site: Site, tokens: dict[str, str], receiver: Receiver) -> None:
    open_project(site, tokens["maintainer"]).hooks.create(
        {"url": receiver.url, "push_events": False, "deployment_events": True}
    )
    project = open_project(site, tokens["developer"])
    sha = project.commits.get("main").id
    fields = {"environment": "clusters/oxygen", "sha": sha, "ref": "main", "tag": False, "status": "running"}
    made = project.deployments.create(fields)
    assert (made.status, made.environment["name"], made.deployable) == ("running", "clusters/oxygen", None)
    made.status = "success"
    made.save()
    assert project.deployments.get(made.id).status == "success"
    first, second = (one.body for one in receiver.take(2))
    assert {first["status"], second["status"]} == {"running", "success"}
    assert find_differences(read_fixture("deployment"), first) == []
    (environment,) = project.environments.list(get_all=True)
    assert (environment.name, environment.slug, environment.state) == (
        "clusters/oxygen", "clusters-oxygen", "available",
    )  # fmt: skip
    assert project.environments.get(environment.id).last_deployment["id"] == made.id


def test_what_is_refused_of_a_deployment(site: Site, tokens: dict[str, str]) -> None:
    project = open_project(site, tokens["developer"])
    fields = {"environment": "prod", "sha": "1" * 40, "ref": "main", "tag": False, "status": "running"}
    made = project.deployments.create(fields)
    assert project.deployments.create(fields).id == made.id  # GitLab keeps one that says all the same
    assert refusal(lambda: project.deployments.create(fields | {"status": "created"}))[0] == 400
    assert refusal(lambda: project.deployments.update(made.id, {"status": "running"}))[0] == 400
    assert refusal(lambda: open_project(site, tokens["reporter"]).deployments.create(fields))[0] == 403
    maintainer, url = site.connect(tokens["maintainer"]), f"/projects/hpc%2Fsite/deployments/{made.id}"
    assert refusal(lambda: maintainer.http_delete(url)) == (400, "Cannot destroy running deployment")


def test_a_job_with_an_environment_makes_its_own_deployment(site: Site, tokens: dict[str, str]) -> None:
    job = start_job(site, tokens["admin"], environment={"name": "staging", "url": "https://staging.test"})
    project = open_project(site, tokens["developer"])
    (deployment,) = project.deployments.list(get_all=True)
    assert (deployment.status, deployment.deployable["id"]) == ("running", job["id"])
    assert refusal(lambda: project.deployments.update(deployment.id, {"status": "failed"}))[0] == 403
    finish_job(site, job, "failed")
    assert project.deployments.get(deployment.id).status == "failed"
    (environment,) = project.environments.list(get_all=True)
    assert (environment.tier, environment.external_url) == ("staging", "https://staging.test")


@pytest.mark.parametrize("name", ["JOB-TOKEN", "Authorization"])
def test_a_job_learns_by_its_token_what_it_is_while_it_runs(site: Site, tokens: dict[str, str], name: str) -> None:
    def ask(path: str, method: str = "GET", **body: str) -> requests.Response:
        prefix = "Bearer " if name == "Authorization" else ""
        headers = {name: prefix + job["token"]}
        return requests.request(method, f"{site.url}/api/v4{path}", headers=headers, json=body or None, timeout=10)

    job = start_job(site, tokens["admin"], name="build")
    found = ask("/job").json()
    assert (found["id"], found["name"], found["ref"], found["user"]["username"]) == (
        job["id"], "build", "main", "developer",
    )  # fmt: skip
    number = found["pipeline"]["project_id"]
    assert ask(f"/projects/{number}/repository/files/build.yaml/raw?ref=main").text == "x\n"
    assert ask(f"/projects/{number}/repository/commits/main").json()["id"] == found["commit"]["id"]
    assert ask(f"/projects/{number}/statuses/main", "POST", state="success").status_code == 401
    made = {"environment": "prod", "sha": "1" * 40, "ref": "main", "tag": "false", "status": "running"}
    assert ask(f"/projects/{number}/deployments", "POST", **made).status_code == 201
    finish_job(site, job)
    assert ask("/job").status_code == 401


def test_the_token_of_a_job_opens_no_other_project(site: Site, tokens: dict[str, str]) -> None:
    site.control.seed(projects=[{"path": "hpc/other"}])
    job = start_job(site, tokens["admin"])
    url = f"{site.url}/api/v4/projects/hpc%2Fother/deployments"
    answer = requests.get(url, headers={"JOB-TOKEN": job["token"]}, timeout=10)
    assert answer.status_code == 403
    assert "not allowed from hpc/site to hpc/other" in answer.json()["message"]


def test_an_access_token_has_no_job(site: Site, tokens: dict[str, str]) -> None:
    assert refusal(lambda: site.connect(tokens["developer"]).http_get("/job")) == (404, "404 Job Not Found")

"""The simulator's APIs as python-gitlab, the client most users have, understands them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

import gitlab
from tests.contract.gitlab.conftest import Site

JOBS = """query($after: String) { jobs(statuses: [PENDING], first: 2, after: $after) {
  pageInfo { hasNextPage endCursor } nodes { id name tags refName queuedAt project { fullPath } } } }"""
GROUP_PIPELINES = """query($path: ID!) { group(fullPath: $path) { projects(includeSubgroups: true, first: 50) {
  nodes { fullPath jobs: pipelines(status: PENDING, first: 5) { nodes { id status } }
    children: pipelines(source: "parent_pipeline", first: 5) { nodes { source } } } } } }"""
GROUP_JOBS = """{ group(fullPath: "hpc") { projects(includeSubgroups: true) { nodes {
  jobs(statuses: [PENDING]) { nodes { id } } } } } }"""


@pytest.fixture
def tokens(site: Site) -> dict[str, str]:
    return site.control.seed(
        projects=[{"path": "hpc/sim"}, {"path": "hpc/deep/other"}, {"path": "else/where"}],
        users=[
            {"username": "admin", "admin": True},
            {"username": "maintainer", "access": {"hpc": 40}},
            {"username": "reporter", "access": {"hpc/sim": 20}},
        ],
        tokens=[
            {"user": "admin", "name": "admin", "scopes": ["api"]},
            {"user": "maintainer", "name": "maintainer", "scopes": ["api"]},
            {"user": "maintainer", "name": "reading", "scopes": ["read_api"]},
            {"user": "maintainer", "name": "creating", "scopes": ["create_runner"]},
            {"user": "reporter", "name": "reporter", "scopes": ["api"]},
            {"user": "reporter", "name": "expired", "scopes": ["api"], "expires_in": 0},
        ],
    )


def _status(call: Any) -> int | None:
    with pytest.raises(gitlab.GitlabError) as caught:
        call()
    return caught.value.response_code


def test_a_runner_is_created_changed_rotated_and_deleted(site: Site, tokens: dict[str, str]) -> None:
    client = site.connect(tokens["maintainer"])
    project = client.projects.get("hpc/sim")
    fields = {"runner_type": "project_type", "project_id": project.id, "tag_list": ["a", "b"], "run_untagged": False}
    client.auth()
    assert client.user is not None
    created = client.user.runners.create(fields)
    runner = client.runners.get(created.id)
    assert (runner.tag_list, runner.run_untagged, runner.status) == (["a", "b"], False, "never_contacted")
    runner.paused = True
    runner.save()
    assert [(one.id, one.paused) for one in project.runners.list(get_all=True)] == [(created.id, True)]
    new: Any = client.http_post(f"/runners/{created.id}/reset_authentication_token")
    assert new["token"].startswith("glrt-")
    assert new["token"] != created.token
    runner.delete()
    assert _status(lambda: client.runners.get(created.id)) == 404


def test_jobs_are_listed_by_status_over_pages_and_changed(site: Site, tokens: dict[str, str]) -> None:
    numbers = site.control.run_jobs("hpc/sim", *({"tags": ["gpu"], "name": f"job {one}"} for one in range(25)))
    client = site.connect(tokens["maintainer"])
    project = client.projects.get("hpc/sim")
    pending = project.jobs.list(scope=["pending"], iterator=True)
    jobs = list(pending)
    assert sorted(job.id for job in jobs) == numbers
    assert jobs[0].tag_list == ["gpu"]
    project.jobs.get(numbers[0]).cancel()
    assert project.jobs.get(numbers[0]).status == "canceled"
    again: Any = project.jobs.get(numbers[0]).retry()
    assert again["status"] == "pending"
    assert len(project.jobs.list(scope=["pending"], get_all=True)) == 25
    assert _status(lambda: project.jobs.get(numbers[1]).play()) == 403


def test_tokens_open_what_their_scopes_and_users_may(site: Site, tokens: dict[str, str]) -> None:
    fields = {"runner_type": "instance_type"}
    assert _status(lambda: site.connect("glpat-unknown").projects.get("hpc/sim")) == 401
    assert _status(lambda: site.connect(tokens["expired"]).projects.get("hpc/sim")) == 401
    assert _status(lambda: site.connect(tokens["reading"]).http_post("/user/runners", post_data=fields)) == 403
    assert _status(lambda: site.connect(tokens["creating"]).projects.get("hpc/sim")) == 403
    assert _status(lambda: site.connect(tokens["maintainer"]).http_post("/user/runners", post_data=fields)) == 403
    assert _status(lambda: site.connect(tokens["reporter"]).projects.get("else/where")) == 404
    assert _status(site.connect(tokens["maintainer"]).runners_all.list) == 403
    own = {"runner_type": "project_type", "project_id": site.connect(tokens["reading"]).projects.get("hpc/sim").id}
    created: Any = site.connect(tokens["creating"]).http_post("/user/runners", post_data=own)
    assert created["token"].startswith("glrt-")


def test_values_that_gitlab_refuses_are_a_400_with_the_reason(site: Site, tokens: dict[str, str]) -> None:
    client = site.connect(tokens["admin"])
    fields = {"runner_type": "instance_type", "run_untagged": False}
    with pytest.raises(gitlab.GitlabHttpError, match="Tags list can not be empty"):
        client.http_post("/user/runners", post_data=fields)


def _ask(client: gitlab.Gitlab, query: str, **variables: Any) -> dict[str, Any]:
    body = {"query": query, "variables": variables}
    answer: Any = client.http_post(f"{client.url.removesuffix('/api/v4')}/api/graphql", post_data=body)
    found: dict[str, Any] = answer
    return found


def test_graphql_gives_an_administrator_the_pending_jobs_of_all_projects_by_pages(
    site: Site, tokens: dict[str, str]
) -> None:
    numbers = [*site.control.run_jobs("hpc/sim", {}, {}), *site.control.run_jobs("else/where", {"tags": ["x"]})]
    client, seen, after = site.connect(tokens["admin"]), [], None
    for _ in range(2):
        page = _ask(client, JOBS, after=after)["data"]["jobs"]
        seen += page["nodes"]
        after = page["pageInfo"]["endCursor"]
    assert not page["pageInfo"]["hasNextPage"]
    assert [job["id"] for job in seen] == [f"gid://gitlab/Ci::Build/{number}" for number in reversed(numbers)]
    assert (seen[0]["tags"], seen[0]["project"]["fullPath"]) == (["x"], "else/where")
    assert _ask(site.connect(tokens["maintainer"]), JOBS)["data"] == {"jobs": None}


def test_a_runner_is_made_and_changed_by_a_form_as_curl_sends_it(site: Site, tokens: dict[str, str]) -> None:
    def send(method: str, path: str, **fields: str) -> Any:
        headers = {"PRIVATE-TOKEN": tokens["maintainer"]}
        return requests.request(method, f"{site.url}/api/v4{path}", data=fields, headers=headers, timeout=10)

    project = site.connect(tokens["maintainer"]).projects.get("hpc/sim").id
    made = send("POST", "/user/runners", runner_type="project_type", project_id=str(project), tag_list="gpu,hpc",
                run_untagged="false")  # fmt: skip
    assert (made.status_code, made.json()["token"][:5]) == (201, "glrt-")
    number = made.json()["id"]
    assert send("PUT", f"/runners/{number}", paused="true", maximum_timeout="900").status_code == 200
    found = send("GET", f"/runners/{number}").json()
    assert (found["paused"], found["maximum_timeout"], sorted(found["tag_list"])) == (True, 900, ["gpu", "hpc"])
    assert found["run_untagged"] is False
    assert send("POST", "/user/runners", runner_type="none").status_code == 400


def test_a_body_that_names_no_type_is_read_as_json_as_kubectl_sends_it(site: Site, tokens: dict[str, str]) -> None:
    project = site.connect(tokens["maintainer"]).projects.get("hpc/sim").id
    made = requests.post(
        f"{site.url}/api/v4/user/runners",
        headers={"PRIVATE-TOKEN": tokens["maintainer"]},
        data=json.dumps({"runner_type": "project_type", "project_id": project, "tag_list": ["gpu"]}).encode(),
        timeout=10,
    )
    assert "Content-Type" not in made.request.headers
    assert (made.status_code, made.json()["token"][:5]) == (201, "glrt-")


def test_graphql_gives_a_groups_projects_at_any_depth_that_the_user_may_see(site: Site, tokens: dict[str, str]) -> None:
    site.control.run_jobs("hpc/deep/other", {})
    site.control.run_jobs("hpc/sim", {}, source="parent_pipeline")
    client = site.connect(tokens["maintainer"])
    asked = _ask(client, GROUP_PIPELINES, path="hpc")["data"]["group"]["projects"]["nodes"]
    found = {node["fullPath"]: (node["jobs"]["nodes"], node["children"]["nodes"]) for node in asked}
    assert [one["status"] for one in found["hpc/deep/other"][0]] == ["PENDING"]
    assert found["hpc/deep/other"][1] == []
    assert found["hpc/sim"] == ([], [{"source": "parent_pipeline"}])
    assert _ask(client, GROUP_PIPELINES, path="else")["data"] == {"group": None}


def test_graphql_gives_the_jobs_of_one_project_in_a_query(site: Site, tokens: dict[str, str]) -> None:
    numbers = site.control.run_jobs("hpc/sim", {})
    client = site.connect(tokens["maintainer"])
    one = _ask(client, '{ project(fullPath: "hpc/sim") { jobs(statuses: [PENDING]) { nodes { id } } } }')
    assert one["data"]["project"]["jobs"]["nodes"] == [{"id": f"gid://gitlab/Ci::Build/{numbers[0]}"}]
    assert "can be requested only for 1 Project(s) at a time" in _ask(client, GROUP_JOBS)["errors"][0]["message"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "{ jobs { nodes { id } }",
        "mutation { jobs { count } }",
        "{ jobs { nodes { nope } } }",
        "{ nope }",
        "{ jobs }",
        "{ jobs { nodes } }",
        "query($p: ID!) { group(fullPath: $p) { id } }",
        '{ group(fullPath: "hpc") { ...F } }',
        '{ jobs(after: "no cursor") { count } }',
    ],
)
def test_graphql_refuses_what_it_does_not_know(site: Site, tokens: dict[str, str], query: str) -> None:
    site.control.run_jobs("hpc/sim", {})
    answer = _ask(site.connect(tokens["admin"]), query)
    assert answer["errors"][0]["message"]
    assert "data" not in answer


def test_graphql_refuses_a_query_that_is_too_complex(site: Site, tokens: dict[str, str]) -> None:
    fields = " ".join(f"a{number}: name" for number in range(200))
    answer = _ask(site.connect(tokens["admin"]), f"{{ jobs(first: 1) {{ nodes {{ {fields} }} }} }}")
    assert "exceeds max complexity" in answer["errors"][0]["message"]

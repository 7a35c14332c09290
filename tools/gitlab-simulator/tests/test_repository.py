"""What the simulator refuses about files, commits and notes, and what a seed must name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gitlab_simulator.seeding import apply_seed
from gitlab_simulator.server import build_app
from gitlab_simulator.spec import Seed
from gitlab_simulator.state import GitLabState, NotThereError
from scenes import build_state

Client = TestClient[Any, Any]
PROJECT = "/api/v4/projects/hpc%2Fsite"
COMMITS: list[dict[str, Any]] = [
    {"files": {"a/b.yaml": "one\n"}, "symlinks": {"link": "a/b.yaml"}},
    {"branch": "side", "files": {"c": "two"}},
    {"branch": "far", "start": "side"},
]
SEED: dict[str, Any] = {
    "projects": [{"path": "hpc/site", "commits": COMMITS, "merge_requests": [{"source_branch": "side"}]}],
    "tokens": [{"user": "root", "name": "root", "value": "glpat-root"}],
}


@pytest.fixture
def state() -> GitLabState:
    state = build_state("hpc/other")
    apply_seed(state, Seed.model_validate(SEED))
    return state


@pytest.fixture
async def client(state: GitLabState) -> AsyncIterator[Client]:
    headers = {"PRIVATE-TOKEN": "glpat-root"}
    async with TestClient(TestServer(build_app(state)), headers=headers) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("files/a%2Fb.yaml", 400, {"error": "ref is missing, ref is empty"}),
        ("files/a%2Fb.yaml?ref=", 400, {"error": "ref is empty"}),
        ("files/a%2Fb.yaml/raw?ref=", 400, {"error": "ref is empty"}),
        ("files/a%2F..%2Fb?ref=main", 400, {"error": "file_path should be a valid file path"}),
        ("files/a%2Fb.yaml?ref=none", 404, {"message": "404 Commit Not Found"}),
        ("files/a?ref=main", 404, {"message": "404 File Not Found"}),
        ("commits/none", 404, {"message": "404 Commit Not Found"}),
        ("branches/none", 404, {"message": "404 Branch Not Found"}),
        ("tags/none", 404, {"message": "404 Tag Not Found"}),
        ("tree?ref=none", 404, {"message": "404 Tree Not Found"}),
        ("tree?path=none", 404, {"message": "404 invalid revision or path Not Found"}),
        ("compare?from=main", 400, {"error": "to is missing"}),
        ("compare?from=main&to=none", 404, {"message": "404 Ref Not Found"}),
        ("commits/222", 404, {"message": "404 Commit Not Found"}),
        ("commits/none/statuses", 404, {"message": "404 Commit Not Found"}),
        ("commits/main?stats=perhaps", 400, {"error": "stats is invalid"}),
    ],
)
async def test_what_is_not_there_is_said(client: Client, path: str, status: int, said: dict[str, str]) -> None:
    answer = await client.get(f"{PROJECT}/repository/{path}", allow_redirects=False)
    assert (answer.status, await answer.json()) == (status, said)


async def test_the_beginning_of_one_commit_is_enough(client: Client, state: GitLabState) -> None:
    branches = state.get_project("hpc/site").repository.branches
    found = await (await client.get(f"{PROJECT}/repository/commits/{branches['far'][:7]}")).json()
    assert (found["id"], found["parent_ids"]) == (branches["far"], [branches["side"]])


@pytest.mark.parametrize(
    ("method", "path", "params", "said"),
    [
        ("POST", "notes", {}, {"error": "body is missing"}),
        ("POST", "notes", {"body": " "}, {"message": '400 Bad request - Note {:note=>["can\'t be blank"]}'}),
        ("POST", "notes", {"body": "x" * 1_000_001},
         {"message": '400 Bad request - Note {:note=>["is too long (maximum is 1000000 characters)"]}'}),
        ("POST", "notes", {"body": "x", "internal": "perhaps"}, {"error": "internal is invalid"}),
        ("PUT", "notes/1", {"body": ""}, {"error": "body is empty"}),
        ("GET", "notes?sort=up", None, {"error": "sort does not have a valid value"}),
        ("GET", "notes?order_by=id", None, {"error": "order_by does not have a valid value"}),
    ],
)  # fmt: skip
async def test_a_wrong_note_is_refused(client: Client, method: str, path: str, params: Any, said: Any) -> None:
    base = f"{PROJECT}/merge_requests/1"
    assert (await client.post(f"{base}/notes", json={"body": "first"})).status == 201
    answer = await client.request(method, f"{base}/{path}", json=params)
    assert (answer.status, await answer.json()) == (400, said)
    notes = await (await client.get(f"{base}/notes")).json()
    assert [note["body"] for note in notes] == ["first"]


async def test_a_pipeline_is_of_the_commit_that_its_ref_points_at(state: GitLabState) -> None:
    seed = {"pipelines": [{"project": "hpc/site", "ref": ref} for ref in ("", "side", "gone")]}
    apply_seed(state, Seed.model_validate(seed))
    shas = [pipeline.sha for pipeline in state.pipelines.values()]
    branches = state.get_project("hpc/site").repository.branches
    assert shas[:2] == [branches["main"], branches["side"]]
    assert len(shas[2]) == 40


@pytest.mark.parametrize(
    ("project", "missing"),
    [
        ({"commits": [{"start": "nowhere"}]}, "commits: nowhere"),
        ({"merge_requests": [{"source_branch": "side"}]}, "merge_requests: branch side"),
        ({"commits": COMMITS[:2], "merge_requests": [{"source_branch": "side", "author": "unknown"}]}, "user unknown"),
    ],
)
def test_a_seed_that_names_what_is_not_there_is_refused(project: dict[str, Any], missing: str) -> None:
    seed = Seed.model_validate({"projects": [{"path": "hpc/new"} | project]})
    with pytest.raises(NotThereError, match=missing):
        apply_seed(build_state(), seed)

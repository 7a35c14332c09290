"""What the simulator refuses about files, commits, statuses and notes, and what a seed must name."""

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
    {"files": {"a/b.yaml": "one\n"}, "sha": "1" * 40},
    {"branch": "side", "files": {"c": "two"}, "sha": "1" * 39 + "2"},
    {"branch": "far", "start": "side", "sha": "2" * 40},
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
        ("commits/1111111", 404, {"message": "404 Commit Not Found"}),  # the beginning of two
        ("commits/222", 404, {"message": "404 Commit Not Found"}),
        ("commits/none/statuses", 404, {"message": "404 Commit Not Found"}),
        ("commits/main?stats=perhaps", 400, {"error": "stats is invalid"}),
    ],
)
async def test_what_is_not_there_is_said(client: Client, path: str, status: int, said: dict[str, str]) -> None:
    answer = await client.get(f"{PROJECT}/repository/{path}", allow_redirects=False)
    assert (answer.status, await answer.json()) == (status, said)


async def test_the_beginning_of_one_commit_is_enough(client: Client) -> None:
    found = await (await client.get(f"{PROJECT}/repository/commits/2222")).json()
    assert (found["id"], found["parent_ids"]) == ("2" * 40, ["1" * 39 + "2"])


@pytest.mark.parametrize(
    ("params", "status", "said"),
    [
        ({}, 400, {"error": "state is missing, state does not have a valid value"}),
        ({"state": "done"}, 400, {"error": "state does not have a valid value"}),
        ({"state": "success", "coverage": "much"}, 400, {"error": "coverage is invalid"}),
        ({"state": "success", "pipeline_id": 7}, 404, "404 Pipeline for pipeline_id, sha and ref Not Found"),
        ({"state": "success", "target_url": "ftp://x"}, 400,
         {"target_url": ["is blocked: Only allowed schemes are http, https"]}),
        ({"state": "success", "description": "x" * 256}, 400,
         {"description": ["is too long (maximum is 255 characters)"]}),
    ],
)  # fmt: skip
async def test_a_wrong_status_is_refused_and_leaves_nothing(
    client: Client, state: GitLabState, params: dict[str, Any], status: int, said: Any
) -> None:
    answer = await client.post(f"{PROJECT}/statuses/{'1' * 40}", json=params)
    wanted = said if isinstance(said, dict) and "error" in said else {"message": said}
    assert (answer.status, await answer.json()) == (status, wanted)
    assert (state.statuses, state.pipelines) == ({}, {})


async def test_a_status_goes_to_the_latest_pipeline_or_the_one_that_is_named(client: Client) -> None:
    made = []
    for params in ({"ref": "main"}, {"ref": "side"}, {}, {"pipeline_id": 101}):
        answer = await client.post(f"{PROJECT}/statuses/{'1' * 40}", json={"state": "success"} | params)
        made.append(await answer.json())
    assert [(one["pipeline_id"], one["ref"]) for one in made] == [
        (101, "main"),
        (102, "side"),
        (102, "side"),
        (101, "main"),
    ]


async def test_a_commit_on_no_branch_needs_a_ref(client: Client, state: GitLabState) -> None:
    repository = state.get_project("hpc/site").repository
    del repository.branches["side"], repository.branches["far"]
    answer = await client.post(f"{PROJECT}/statuses/{'1' * 39}2", json={"state": "success"})
    assert (answer.status, await answer.json()) == (404, {"message": "404 References for commit Not Found"})
    answer = await client.post(f"{PROJECT}/statuses/{'1' * 39}2", json={"state": "success", "ref": "any"})
    assert answer.status == 201


async def test_another_user_has_a_status_of_its_own(client: Client, state: GitLabState) -> None:
    seed = {
        "users": [{"username": "bot", "access": {"hpc": 40}}],
        "tokens": [{"user": "bot", "name": "bot", "value": "glpat-bot"}],
    }
    apply_seed(state, Seed.model_validate(seed))
    numbers: list[int] = []
    for token in ("glpat-root", "glpat-bot", "glpat-bot"):
        headers = {"PRIVATE-TOKEN": token}
        said = {"state": "success" if numbers[1:] else "running"}
        answer = await client.post(f"{PROJECT}/statuses/{'1' * 40}", json=said, headers=headers)
        numbers.append((await answer.json())["id"])
    assert numbers[0] != numbers[1] == numbers[2]


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
    assert shas[:2] == ["1" * 40, "1" * 39 + "2"]
    assert len(shas[2]) == 40


@pytest.mark.parametrize(
    ("project", "missing"),
    [
        ({"commits": [{"start": "nowhere"}]}, "commits: nowhere"),
        ({"merge_requests": [{"source_branch": "side"}]}, "merge_requests: branch side"),
        ({"commits": COMMITS, "merge_requests": [{"source_branch": "side", "author": "nobody"}]}, "user nobody"),
    ],
)
def test_a_seed_that_names_what_is_not_there_is_refused(project: dict[str, Any], missing: str) -> None:
    seed = Seed.model_validate({"projects": [{"path": "hpc/new"} | project]})
    with pytest.raises(NotThereError, match=missing):
        apply_seed(build_state(), seed)

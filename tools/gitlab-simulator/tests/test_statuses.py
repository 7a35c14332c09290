"""Commit statuses: where they go, which steps are allowed, what is refused.

Source: app/services/ci/create_commit_status_service.rb, app/models/commit_status.rb
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gitlab_simulator.git.objects import ZEROS
from gitlab_simulator.seeding import apply_seed
from gitlab_simulator.server import build_app
from gitlab_simulator.spec import Seed
from gitlab_simulator.state import GitLabState
from scenes import add_jobs, build_state

Client = TestClient[Any, Any]
PROJECT = "/api/v4/projects/hpc%2Fsite"
COMMITS: list[dict[str, Any]] = [
    {"files": {"build.yaml": "one\n"}},
    {"branch": "side", "files": {"c": "two"}},
    {"branch": "far", "start": "side"},
]
SEED: dict[str, Any] = {
    "projects": [{"path": "hpc/site", "commits": COMMITS}],
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


async def report(client: Client, said: str, **params: Any) -> tuple[int, Any]:
    """Report a state of the head of main; return the answer's status and what it says."""
    answer = await client.post(f"{PROJECT}/statuses/main", json={"state": said} | params)
    found = await answer.json()
    return answer.status, found if answer.status == 201 else found["message"]


@pytest.mark.parametrize(
    ("before", "after", "status", "step"),
    [
        (["pending"], "pending", 400, "enqueue"),
        (["pending"], "running", 201, ""),
        (["pending", "running"], "running", 400, "run"),
        (["running"], "running", 400, "run"),
        (["running"], "pending", 400, "enqueue"),
        (["running"], "skipped", 400, "skip"),
        (["pending"], "skipped", 201, ""),
        (["running"], "canceled", 201, ""),
        (["success"], "pending", 201, ""),
        (["failed"], "success", 201, ""),
    ],
)
async def test_which_step_follows_on_which(
    client: Client, before: list[str], after: str, status: int, step: str
) -> None:
    for said in before:
        assert (await report(client, said))[0] == 201
    found, answer = await report(client, after)
    assert found == status
    if step:
        assert answer.startswith(f"Cannot transition status via :{step} from :{before[-1]}")
    else:
        assert answer["status"] == after


async def test_a_refused_step_changes_neither_text_nor_address(client: Client) -> None:
    _, first = await report(client, "running", description="phase 1", target_url="http://one.test/")
    assert (await report(client, "running", description="phase 2", target_url="http://two.test/"))[0] == 400
    assert await (await client.get(f"{PROJECT}/repository/commits/{first['sha']}/statuses")).json() == [first]


async def test_a_job_of_that_name_takes_the_name(client: Client, state: GitLabState) -> None:
    add_jobs(state, {"name": "build"}, project="hpc/site")
    assert await report(client, "running", name="build") == (400, {"name": ["has already been taken"]})
    assert (await report(client, "running", name="bessemer/build"))[0] == 201


async def test_a_full_pipeline_takes_no_other_status(client: Client, state: GitLabState) -> None:
    state.settings.ci_pipeline_size = 2
    add_jobs(state, {}, project="hpc/site")
    _, mine = await report(client, "running", name="mine")
    number = mine["pipeline_id"]
    refused = (422, "The number of jobs has exceeded the limit")
    assert await report(client, "running", name="other", pipeline_id=number) == refused
    assert (await report(client, "success", name="mine", pipeline_id=number))[0] == 201
    _, elsewhere = await report(client, "running", name="other")
    assert (elsewhere["pipeline_id"], state.pipelines[elsewhere["pipeline_id"]].source) == (number + 1, "external")


async def test_an_update_that_does_not_get_the_lock_of_the_commit_in_time_is_a_conflict(
    client: Client, state: GitLabState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitlab_simulator.statuses_api.LOCK_SECONDS", 0.05)
    state.settings.status_update_seconds = 0.5
    first = asyncio.create_task(report(client, "running", name="one"))
    second = asyncio.create_task(report(client, "running", name="two"))
    side = asyncio.create_task(client.post(f"{PROJECT}/statuses/side", json={"state": "running"}))
    answers = dict([await first, await second])
    assert answers[409] == "Another update to this commit status is in progress"
    assert (201 in answers, (await side).status) == (True, 201)


async def test_a_pipeline_that_was_made_for_a_refused_status_stays(client: Client, state: GitLabState) -> None:
    assert (await report(client, "running", description="x" * 256))[0] == 400
    assert [(one.source, one.ref) for one in state.pipelines.values()] == [("external", "far")]


async def test_statuses_are_listed_by_pages(client: Client) -> None:
    for number in range(25):
        await report(client, "success", name=f"bessemer/{number}", ref="main")
    head = (await report(client, "success", name="one", ref="main"))[1]["sha"]
    url = f"{PROJECT}/repository/commits/{head}/statuses"
    page = await client.get(url)
    assert (len(await page.json()), page.headers["X-Total"], page.headers["X-Next-Page"]) == (20, "26", "2")
    (found,) = await (await client.get(f"{url}?name=bessemer/7")).json()
    assert found["name"] == "bessemer/7"


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
async def test_a_wrong_status_is_refused(
    client: Client, state: GitLabState, params: dict[str, Any], status: int, said: Any
) -> None:
    answer = await client.post(f"{PROJECT}/statuses/main", json=params)
    wanted = said if isinstance(said, dict) and "error" in said else {"message": said}
    assert (answer.status, await answer.json()) == (status, wanted)
    assert state.statuses == {}


async def test_a_status_goes_to_the_latest_pipeline_or_the_one_that_is_named(client: Client) -> None:
    made = []
    for params in ({"ref": "main"}, {"ref": "side"}, {}, {"pipeline_id": 101}):
        answer = await client.post(f"{PROJECT}/statuses/main", json={"state": "success"} | params)
        made.append(await answer.json())
    assert [(one["pipeline_id"], one["ref"]) for one in made] == [
        (101, "main"),
        (102, "side"),
        (102, "side"),
        (101, "main"),
    ]


async def test_a_commit_on_no_branch_needs_a_ref(client: Client, state: GitLabState) -> None:
    repository = state.get_project("hpc/site").repository
    sha = repository.branches["side"]
    for branch in ("side", "far"):
        repository.set_ref(f"refs/heads/{branch}", ZEROS)
    answer = await client.post(f"{PROJECT}/statuses/{sha}", json={"state": "success"})
    assert (answer.status, await answer.json()) == (404, {"message": "404 References for commit Not Found"})
    answer = await client.post(f"{PROJECT}/statuses/{sha}", json={"state": "success", "ref": "any"})
    assert answer.status == 201


async def test_another_user_has_a_separate_status(client: Client, state: GitLabState) -> None:
    seed = {
        "users": [{"username": "bot", "access": {"hpc": 40}}],
        "tokens": [{"user": "bot", "name": "bot", "value": "glpat-bot"}],
    }
    apply_seed(state, Seed.model_validate(seed))
    numbers: list[int] = []
    for token in ("glpat-root", "glpat-bot", "glpat-bot"):
        headers = {"PRIVATE-TOKEN": token}
        said = {"state": "success" if numbers[1:] else "running"}
        answer = await client.post(f"{PROJECT}/statuses/main", json=said, headers=headers)
        numbers.append((await answer.json())["id"])
    assert numbers[0] != numbers[1] == numbers[2]

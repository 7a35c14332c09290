"""Who may look at webhooks, what is refused, and when an event can't be sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gitlab_simulator.model import Delivery, Hook
from gitlab_simulator.seeding import apply_seed
from gitlab_simulator.server import build_app
from gitlab_simulator.spec import Seed
from gitlab_simulator.state import GitLabState
from scenes import add_jobs, build_state

Client = TestClient[Any, Any]
HOOK = "/api/v4/projects/hpc%2Fsim/hooks/1"
UNREACHABLE = "http://127.0.0.1:1/"
LEVELS = {"reporter": 20, "maintainer": 40, "owner": 50}


@pytest.fixture
def state() -> GitLabState:
    state = build_state("hpc/sim", "hpc/other")
    seed = {
        "users": [{"username": name, "access": {"hpc": level}} for name, level in LEVELS.items()],
        "tokens": [
            *({"user": name, "name": name, "value": name} for name in LEVELS),
            {"user": "maintainer", "name": "reading", "value": "reading", "scopes": ["read_api"]},
        ],
    }
    apply_seed(state, Seed.model_validate(seed))
    project, group = state.get_project("hpc/sim"), state.find_group("hpc")
    assert group is not None
    state.hooks[1] = Hook(1, "project", project.id, UNREACHABLE, events=frozenset({"job_events"}))
    state.hooks[2] = Hook(2, "group", group.id, UNREACHABLE)
    add_delivery(state, 1)
    return state


def add_delivery(state: GitLabState, number: int, status: int | None = 500, **fields: Any) -> None:
    headers = {"Idempotency-Key": f"key-{number}"}
    made = Delivery(number, 1, UNREACHABLE, "Job Hook", b"{}", headers, state.clock.now(), status, **fields)
    state.deliveries[state.next_id("delivery")] = made


@pytest.fixture
async def client(state: GitLabState) -> AsyncIterator[Client]:
    headers = {"PRIVATE-TOKEN": "maintainer"}
    async with TestClient(TestServer(build_app(state)), headers=headers) as client:
        yield client


@pytest.mark.parametrize(
    ("token", "method", "path", "status"),
    [
        ("reporter", "GET", "projects/hpc%2Fsim/hooks", 403),
        ("reporter", "GET", "projects/hpc%2Fsim/hooks/1/events", 403),
        ("reporter", "POST", "projects/hpc%2Fsim/hooks/1/events/1/resend", 403),
        ("reading", "GET", "projects/hpc%2Fsim/hooks/1/events", 200),
        ("reading", "POST", "projects/hpc%2Fsim/hooks/1/events/1/resend", 403),
        ("maintainer", "GET", "projects/hpc%2Fsim/hooks/1", 200),
        ("maintainer", "GET", "projects/hpc%2Fother/hooks/1", 404),
        ("maintainer", "GET", "projects/hpc%2Fsim/hooks/2", 404),
        ("maintainer", "POST", "projects/hpc%2Fsim/hooks/1/events/2/resend", 404),
        ("maintainer", "GET", "groups/hpc/hooks", 403),
        ("maintainer", "GET", "groups/none/hooks", 404),
        ("owner", "GET", "groups/hpc/hooks/2/events", 200),
        ("owner", "GET", "groups/hpc/hooks/1/events", 404),
    ],
)
async def test_hooks_are_for_maintainers_and_those_of_groups_for_owners(
    client: Client, token: str, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, f"/api/v4/{path}", headers={"PRIVATE-TOKEN": token})
    assert answer.status == status


@pytest.mark.parametrize(
    ("method", "path", "params", "status", "said"),
    [
        ("POST", "/api/v4/projects/hpc%2Fsim/hooks", {}, 400, {"error": "url is missing"}),
        ("POST", "/api/v4/projects/hpc%2Fsim/hooks", {"url": "here"}, 422, {"error": "Invalid url given"}),
        ("PUT", HOOK, {"url": "ftp://here"}, 422, {"error": "Invalid url given"}),
        ("GET", f"{HOOK}/events?per_page=21", None, 400, {"error": "per_page does not have a valid value"}),
        ("GET", f"{HOOK}/events?status=good", None, 400, {"error": "status does not have a valid value"}),
    ],
)
async def test_wrong_values_are_refused(
    client: Client, method: str, path: str, params: Any, status: int, said: dict[str, str]
) -> None:
    answer = await client.request(method, path, json=params)
    assert (answer.status, await answer.json()) == (status, said)


async def test_an_event_without_an_answer_is_an_internal_error_and_sending_it_again_says_why(client: Client) -> None:
    refused = await client.post(f"{HOOK}/events/1/resend")
    assert refused.status == 422
    assert "Cannot connect" in (await refused.json())["message"]
    events = await (await client.get(f"{HOOK}/events?status=server_failure")).json()
    assert [event["response_status"] for event in events] == ["internal error", "500"]
    assert {event["request_headers"]["Idempotency-Key"] for event in events} == {"key-1"}


async def test_an_event_of_a_hook_that_leads_elsewhere_now_can_not_be_sent_again(client: Client) -> None:
    assert (await client.put(HOOK, json={"url": "http://127.0.0.1:2/"})).status == 200
    answer = await client.post(f"{HOOK}/events/1/resend")
    said = {"message": "The hook URL has changed, and this log entry cannot be retried"}
    assert (answer.status, await answer.json()) == (422, said)


@pytest.mark.parametrize(("failures", "said"), [(3, "executable"), (4, "temporarily_disabled"), (40, "disabled")])
async def test_an_event_of_a_paused_hook_can_not_be_sent_again(
    client: Client, state: GitLabState, failures: int, said: str
) -> None:
    hook = state.hooks[1]
    hook.disabled_until = state.clock.now() + 60 if failures >= 4 else None
    hook.permanently_disabled = failures >= 40
    assert (await (await client.get(HOOK)).json())["alert_status"] == said
    answer = await client.post(f"{HOOK}/events/1/resend")
    assert ((await answer.json())["message"] == "Hook disabled") is (failures >= 4)


async def test_events_are_sent_again_five_times_a_minute(client: Client, state: GitLabState) -> None:
    async def resend(token: str) -> int:
        return (await client.post(f"{HOOK}/events/1/resend", headers={"PRIVATE-TOKEN": token})).status

    async def receive(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_post("/", receive)
    async with TestServer(app) as server:
        state.hooks[1].url = next(iter(state.deliveries.values())).url = str(server.make_url("/"))
        assert [await resend("maintainer") for _ in range(6)] == [201] * 5 + [429]
        assert await resend("owner") == 201
        state.clock.advance(60)
        assert await resend("maintainer") == 201


async def test_events_are_told_for_a_week_and_only_once_they_are_over(client: Client, state: GitLabState) -> None:
    add_delivery(state, 2, status=None)  # under way
    add_delivery(state, 3, status=None, error="no answer")
    assert [event["id"] for event in await (await client.get(f"{HOOK}/events")).json()] == [3, 1]
    state.clock.advance(7 * 24 * 3600 + 1)
    assert await (await client.get(f"{HOOK}/events")).json() == []


async def test_a_new_hook_wants_pushes_and_what_else_it_says(client: Client, state: GitLabState) -> None:
    made = await client.post("/api/v4/projects/hpc%2Fsim/hooks", json={"url": UNREACHABLE, "job_events": "true"})
    assert state.hooks[(await made.json())["id"]].events == {"push_events", "job_events"}


async def test_a_test_goes_to_a_disabled_hook_and_enables_it_again(client: Client, state: GitLabState) -> None:
    received: list[dict[str, Any]] = []

    async def receive(request: web.Request) -> web.Response:
        received.append({"event": request.headers["X-Gitlab-Event"], **await request.json()})
        return web.Response(status=204 if len(received) > 1 else 500)

    app = web.Application()
    app.router.add_post("/", receive)
    (job,) = add_jobs(state)
    async with TestServer(app) as server:
        hook = state.hooks[1]
        hook.url, hook.permanently_disabled = str(server.make_url("/")), True
        failed = await client.post(f"{HOOK}/test/job_events")
        assert (failed.status, hook.permanently_disabled) == (422, True)
        assert (await client.post(f"{HOOK}/test/job_events")).status == 201
    assert [(one["event"], one["build_id"]) for one in received] == [("Job Hook", job.id)] * 2
    assert (await (await client.get(HOOK)).json())["alert_status"] == "executable"


@pytest.mark.parametrize(
    ("trigger", "status", "said"),
    [
        ("push_events", 422, {"message": "Ensure the project has at least one commit."}),
        ("pipeline_events", 422, {"message": "Ensure the project has CI pipelines."}),
        ("merge_requests_events", 422, {"message": "Ensure the project has merge requests."}),
        ("no_events", 400, {"error": "trigger does not have a valid value"}),
    ],
)
async def test_a_test_needs_something_to_tell(client: Client, trigger: str, status: int, said: Any) -> None:
    answer = await client.post(f"{HOOK}/test/{trigger}")
    assert (answer.status, await answer.json()) == (status, said)


async def test_events_of_a_request_that_has_their_uuid_share_it(client: Client, state: GitLabState) -> None:
    state.hooks[1].events = frozenset({"job_events", "pipeline_events"})
    (job,) = add_jobs(state, {"when": "manual"})
    before = len(state.deliveries)
    play = f"/api/v4/projects/hpc%2Fsim/jobs/{job.id}/play"
    assert (await client.post(play, headers={"X-Gitlab-Event-UUID": "of-a-hook"})).status == 201
    sent = [one.headers for one in state.deliveries.values()][before:]
    async with asyncio.timeout(5):
        while len(sent) < 2:
            await asyncio.sleep(0)
            sent = [one.headers for one in list(state.deliveries.values())[before:]]
    caused = [one for one in sent if one["X-Gitlab-Event-UUID"] == "of-a-hook"]
    assert len(caused) == 2
    for name in ("Idempotency-Key", "X-Gitlab-Webhook-UUID"):
        assert len({one[name] for one in caused}) == 2


async def test_hooks_are_not_disabled_where_gitlab_is_set_so(client: Client, state: GitLabState) -> None:
    state.settings.auto_disable_hooks = False
    state.settings.resends_per_minute = 50
    for _ in range(5):
        assert (await client.post(f"{HOOK}/events/1/resend")).status == 422
    assert (await (await client.get(HOOK)).json())["alert_status"] == "executable"

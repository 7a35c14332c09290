"""Job events: who gets them, how they are signed, and when a hook gets none any more."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gitlab_simulator.model import Hook
from gitlab_simulator.state import GitLabState
from gitlab_simulator.webhooks import Webhooks, compute_is_disabled, note_outcome
from scenes import START, add_jobs, build_state

KEY = b"a key of some length"


@dataclass
class Receiver:
    """Keeps what was posted to it."""

    url: str = ""
    status: int = 200
    got: asyncio.Queue[tuple[dict[str, str], bytes]] = field(default_factory=asyncio.Queue)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()

    async def receive(request: web.Request) -> web.Response:
        receiver.got.put_nowait((dict(request.headers), await request.read()))
        return web.Response(status=receiver.status)

    app = web.Application()
    app.router.add_post("/", receive)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/"))
        yield receiver


@pytest.fixture
def state() -> GitLabState:
    return build_state("hpc/sim", "else/where")


@pytest.fixture(autouse=True)
async def webhooks(state: GitLabState) -> AsyncIterator[Webhooks]:
    webhooks = Webhooks(state)
    yield webhooks
    await webhooks.close()


def _add_hook(state: GitLabState, url: str, *, token: str = "", signing_token: str = "") -> Hook:
    group = state.find_group("hpc")
    assert group is not None
    hook = Hook(1, "group", group.id, url, token, signing_token, frozenset({"job_events"}))
    state.hooks[hook.id] = hook
    return hook


async def test_a_group_hook_hears_of_each_status_of_the_jobs_below_it(state: GitLabState, receiver: Receiver) -> None:
    _add_hook(state, receiver.url, token="secret")
    add_jobs(state, project="else/where")
    (job,) = add_jobs(state, {"tags": ["gpu"]})
    async with asyncio.timeout(5):
        got = [await receiver.got.get() for _ in range(2)]
    bodies = [json.loads(body) for _, body in got]
    assert {body["build_status"] for body in bodies} == {"created", "pending"}
    assert {(body["build_id"], body["project"]["path_with_namespace"]) for body in bodies} == {(job.id, "hpc/sim")}
    assert all(headers["X-Gitlab-Token"] == "secret" for headers, _ in got)
    assert all(body["runner"] is None and "tag_list" not in body for body in bodies)


async def test_webhooks_that_are_held_are_sent_when_they_are_released(
    state: GitLabState, receiver: Receiver, webhooks: Webhooks
) -> None:
    state.settings.job_events_for_pending = False
    _add_hook(state, receiver.url)
    webhooks.hold()
    for _ in range(3):
        add_jobs(state)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await receiver.got.get()
    assert state.deliveries == {}
    webhooks.release()
    async with asyncio.timeout(5):
        got = [await receiver.got.get() for _ in range(3)]
    assert len({json.loads(body)["build_id"] for _, body in got}) == 3


async def test_the_signed_form_is_that_of_standard_webhooks(state: GitLabState, receiver: Receiver) -> None:
    state.settings.job_events_for_pending = False
    _add_hook(state, receiver.url, signing_token=f"whsec_{base64.b64encode(KEY).decode()}")
    add_jobs(state)
    async with asyncio.timeout(5):
        headers, body = await receiver.got.get()
    assert headers["webhook-id"] == headers["Idempotency-Key"]
    assert headers["webhook-timestamp"] == str(int(START))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert "X-Gitlab-Token" not in headers


def test_a_hook_pauses_from_the_fourth_failure_on_and_ends_at_the_fortieth() -> None:
    hook = Hook(1, "group", 1, "http://hook.test")
    pauses = []
    for _ in range(39):
        note_outcome(hook, START, delivered=False)
        pauses.append((hook.disabled_until or START) - START)
    assert pauses[:6] == [0, 0, 0, 60, 120, 240]
    assert pauses[-1] == 24 * 3600
    assert not compute_is_disabled(hook, START + 24 * 3600)
    note_outcome(hook, START, delivered=False)
    assert compute_is_disabled(hook, START + 1e9)


def test_a_delivery_ends_the_rest_of_a_hook() -> None:
    hook = Hook(1, "group", 1, "http://hook.test")
    for _ in range(5):
        note_outcome(hook, START, delivered=False)
    note_outcome(hook, START, delivered=True)
    assert (hook.failures, compute_is_disabled(hook, START)) == (0, False)

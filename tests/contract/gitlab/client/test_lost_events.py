"""A trigger finds what the simulator could not deliver, over HTTP; Kubernetes is the fake."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bessemer.api.references import ScopeType
from bessemer.errors import Invalid
from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.hookclient import HookLogClient
from bessemer.gitlab.protocol import GitLabRefused, Scope
from bessemer.gitlab.repository import RepositoryClient
from bessemer.web.app import add_public_routes
from tests.contract.gitlab.conftest import Site
from tests.support.trigger_world import KEY, PROJECT, TriggerWorld, open_trigger_world

EVENTS = ["push_events", "merge_requests_events", "note_events", "pipeline_events"]
SCOPE = Scope(ScopeType.PROJECT, PROJECT)
PATH = f"/v1/triggers/{KEY[0]}/{KEY[1]}"
SOON, PAUSE = 10.0, 0.02
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def seed(site: Site) -> dict[str, str]:
    return site.control.seed(
        projects=[{"path": PROJECT, "commits": [{"files": {"README": "x"}}, {"branch": "grow", "files": {"a": "b"}}]}],
        users=[
            {"username": "robot", "access": {PROJECT: 40}},
            {"username": "junior", "access": {PROJECT: 30}},
            {"username": "ada", "access": {PROJECT: 40}},
        ],
        tokens=[
            {"user": "robot", "name": "robot"},
            {"user": "robot", "name": "reading", "scopes": ["read_api"]},
            {"user": "junior", "name": "junior"},
            {"user": "ada", "name": "ada"},
        ],
    )


def connect(site: Site, token: str) -> Any:
    """Return the real client, in the place of the fake."""
    return HookLogClient(GitLabConnector().open_transport(site.url, token, None))


async def push(site: Site, text: str) -> None:
    await asyncio.to_thread(site.control.add_commit, PROJECT, pushed_by="ada", files={"README": text})


async def wait_for_deliveries(site: Site, count: int) -> None:
    def wait() -> None:
        until = time.monotonic() + SOON
        while sum(bool(one["status"] or one["error"]) for one in site.control.deliveries()) < count:
            assert time.monotonic() < until, f"not {count} deliveries within {SOON:g} s"
            time.sleep(PAUSE)

    await asyncio.to_thread(wait)


@asynccontextmanager
async def serve(world: TriggerWorld, state: dict[str, bool]) -> AsyncIterator[str]:
    """Serve the operator's address for webhooks; while it is down, 502 is answered as by an ingress."""

    @web.middleware
    async def answer(request: web.Request, handler: Any) -> web.StreamResponse:
        return web.Response(status=502) if state["down"] else await handler(request)

    app = web.Application(middlewares=[answer])
    add_public_routes(app, world.kind.routes.public, world.deps.metrics)
    async with TestServer(app) as server:
        yield str(server.make_url(PATH))


async def test_a_lost_merge_request_and_comment_are_found(site: Site) -> None:
    tokens = await asyncio.to_thread(seed, site)
    project = await asyncio.to_thread(lambda: site.connect(tokens["ada"]).projects.get(PROJECT))
    async with open_trigger_world() as world:
        world.clock[0] = datetime.now(UTC) - timedelta(seconds=60)
        world.hooks = connect(site, tokens["robot"])
        await world.apply(
            rules=[{"name": "check", "mergeRequest": {"targetBranches": ["*"]}}, {"name": "ask", "comment": {}}]
        )
        await world.settle()
        state = {"down": True}
        async with serve(world, state) as url:
            hook = {"project": PROJECT, "url": url, "token": "hook-secret", "events": EVENTS}
            await asyncio.to_thread(lambda: site.control.add_hook(**hook))
            opened = {"source_branch": "grow", "target_branch": "main", "title": "Grow"}
            request = await asyncio.to_thread(lambda: project.mergerequests.create(opened))
            await asyncio.to_thread(lambda: request.notes.create({"body": "/bessemer plan"}))
            await wait_for_deliveries(site, 2)
            assert world.records() == {}
            state["down"] = False
            world.clock[0] = datetime.now(UTC) + timedelta(seconds=600)
            await world.settle()
            assert sorted(event["kind"] for event in world.status()["events"]) == ["comment", "merge_request"]
            assert world.condition("WebhookHealthy") == ("True", "Heard")
            sent = len(await asyncio.to_thread(site.control.deliveries))
            world.clock[0] += timedelta(seconds=601)
            await world.settle()
            assert len(await asyncio.to_thread(site.control.deliveries)) == sent


async def test_a_disabled_webhook_is_seen_and_sends_nothing_again(site: Site) -> None:
    tokens = await asyncio.to_thread(seed, site)
    await asyncio.to_thread(lambda: site.control.change_settings(auto_disable_hooks=True))
    url = f"http://127.0.0.1:1{PATH}"
    await asyncio.to_thread(lambda: site.control.add_hook(project=PROJECT, url=url, events=["push_events"]))
    for number in range(4):
        await push(site, str(number))
        await wait_for_deliveries(site, number + 1)
    client = connect(site, tokens["robot"])
    (hook,) = await client.list_hooks(SCOPE, PATH)
    assert hook.state == "temporarily_disabled"
    deliveries = await client.list_deliveries(SCOPE, hook.id, LONG_AGO)
    assert [(one.kind, one.arrived) for one in deliveries] == [("push", False)] * 4
    assert len({one.key for one in deliveries}) == 4
    with pytest.raises(Invalid):
        await client.resend(SCOPE, hook.id, deliveries[0].id)
    assert await client.list_hooks(SCOPE, "/v1/triggers/lab/other") == []
    await client.close()


async def test_many_deliveries_are_listed_page_by_page_up_to_a_time(site: Site) -> None:
    tokens = await asyncio.to_thread(seed, site)
    await asyncio.to_thread(lambda: site.control.change_settings(auto_disable_hooks=False))
    url = f"http://127.0.0.1:1{PATH}"
    await asyncio.to_thread(lambda: site.control.add_hook(project=PROJECT, url=url, events=["push_events"]))
    for number in range(23):
        await push(site, str(number))
    await wait_for_deliveries(site, 23)
    client = connect(site, tokens["robot"])
    (hook,) = await client.list_hooks(SCOPE, PATH)
    found = await client.list_deliveries(SCOPE, hook.id, LONG_AGO)
    assert len({one.id for one in found}) == 23
    assert found == sorted(found, key=lambda one: (one.at, one.id), reverse=True)
    assert await client.list_deliveries(SCOPE, hook.id, datetime.now(UTC) + timedelta(days=1)) == []
    await client.close()


async def test_a_developer_may_not_see_webhooks_and_a_reading_token_may_send_nothing_again(site: Site) -> None:
    tokens = await asyncio.to_thread(seed, site)
    url = f"http://127.0.0.1:1{PATH}"
    await asyncio.to_thread(lambda: site.control.add_hook(project=PROJECT, url=url, events=["push_events"]))
    await push(site, "y")
    await wait_for_deliveries(site, 1)
    junior, reading = connect(site, tokens["junior"]), connect(site, tokens["reading"])
    with pytest.raises(GitLabRefused):
        await junior.list_hooks(SCOPE, PATH)
    (hook,) = await reading.list_hooks(SCOPE, PATH)
    (lost,) = await reading.list_deliveries(SCOPE, hook.id, LONG_AGO)
    with pytest.raises(GitLabRefused):
        await reading.resend(SCOPE, hook.id, lost.id)
    await junior.close()
    await reading.close()


async def test_the_access_tokens_user_is_known_by_number(site: Site) -> None:
    tokens = await asyncio.to_thread(seed, site)
    clients = [
        RepositoryClient(GitLabConnector().open_transport(site.url, tokens[name], None)) for name in ("robot", "ada")
    ]
    numbers = [await client.get_user_id() for client in clients]
    sites = [site.connect(tokens[name]) for name in ("robot", "ada")]
    raw: list[Any] = [await asyncio.to_thread(one.http_get, "/user") for one in sites]
    assert numbers == [one["id"] for one in raw]
    for client in clients:
        await client.close()

"""Requests at a replica that stands by reach the leader; over real HTTP on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bessemer.hearing import Hearing
from bessemer.kube.client import LEASES, PODS
from bessemer.web.app import Health
from bessemer.web.forward import FORWARDED, Forwarder
from bessemer.wellknown import LEADER_LEASE
from tests.support.world import SYSTEM, World

PATH = "/v1/gitlab/ci/lab"


@dataclass
class Replicas:
    """A leader, which takes down what it hears, and one that stands by."""

    standby: TestClient  # type: ignore[type-arg]  # its arguments say nothing here
    world: World
    health: Health
    heard: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    heard: list[tuple[str, bytes, dict[str, str]]] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append((request.raw_path, await request.read(), dict(request.headers)))
        return web.Response(status=401)

    leader = web.Application()
    leader.router.add_route("*", "/{path:.*}", hear)
    world = await asyncio.to_thread(World)  # it runs an event loop of its own
    health = Health(Hearing(), 120)
    async with TestServer(leader) as server:
        settings = replace(world.deps.settings, identity="standby", listen_port=server.port or 0)
        app = web.Application(middlewares=[Forwarder(world.kubernetes, settings, health).forward])
        app.router.add_get("/healthz", healthy)
        app.router.add_post(PATH, taken)
        async with TestClient(TestServer(app)) as standby:
            yield Replicas(standby, world, health, heard)


async def healthy(_: web.Request) -> web.Response:
    return web.Response(status=200)


async def taken(_: web.Request) -> web.Response:
    return web.Response(status=204)


async def lead(replicas: Replicas, **status: Any) -> None:
    """Have another replica hold the Lease."""
    lease = {"metadata": {"name": LEADER_LEASE}, "spec": {"holderIdentity": "leader"}}
    await replicas.world.kubernetes.create_object(LEASES, SYSTEM, lease)
    await replicas.world.kubernetes.create_object(PODS, SYSTEM, {"metadata": {"name": "leader"}, "status": status})


async def test_what_a_standby_is_told_reaches_the_leader_as_it_was_sent(replicas: Replicas) -> None:
    await lead(replicas, podIP="127.0.0.1")
    sent = await replicas.standby.post(PATH + "?x=1", data=b"{}", headers={"X-Gitlab-Token": "secret"})
    assert sent.status == 401  # the leader's answer
    ((path, body, headers),) = replicas.heard
    assert (path, body, headers["X-Gitlab-Token"]) == (PATH + "?x=1", b"{}", "secret")


async def test_a_standby_is_no_way_to_other_hosts(replicas: Replicas) -> None:
    """A request as one sends it to a proxy names another host."""
    await lead(replicas, podIP="127.0.0.1")
    server = replicas.standby.server
    reader, writer = await asyncio.open_connection(server.host, server.port)
    request = f"POST http://elsewhere.example:99{PATH} HTTP/1.1\r\nHost: elsewhere.example\r\nContent-Length: 0\r\n\r\n"
    writer.write(request.encode())
    status = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()
    assert b" 401 " in status  # the leader's answer
    ((path, _, headers),) = replicas.heard
    assert path == PATH
    assert headers["Host"].startswith("127.0.0.1:")


async def test_a_leader_answers_itself(replicas: Replicas) -> None:
    await lead(replicas, podIP="127.0.0.1")
    replicas.health.leading = True
    assert (await replicas.standby.post(PATH)).status == 204
    assert replicas.heard == []


async def test_nothing_goes_on_twice(replicas: Replicas) -> None:
    await lead(replicas, podIP="127.0.0.1")
    assert (await replicas.standby.post(PATH, headers={FORWARDED: "other"})).status == 503
    assert replicas.heard == []


@pytest.mark.parametrize("status", [{}, {"podIP": "127.0.0.2"}])
async def test_where_the_leader_can_not_be_reached_it_is_said(replicas: Replicas, status: dict[str, str]) -> None:
    await lead(replicas, **status)
    assert (await replicas.standby.post(PATH)).status == 503


async def test_probes_are_each_replicas_own(replicas: Replicas) -> None:
    await lead(replicas, podIP="127.0.0.1")
    assert (await replicas.standby.get("/healthz")).status == 200

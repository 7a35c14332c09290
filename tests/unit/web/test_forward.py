"""Requests at a replica that stands by reach the leader; over real HTTP on the loopback."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from bessemer.api.wellknown import LEADER_LEASE
from bessemer.engine.hearing import Hearing
from bessemer.errors import Retry
from bessemer.kube.protocol import LEASES, PODS
from bessemer.web.app import Health
from bessemer.web.forward import FORWARDED, Forwarder
from bessemer.web.leader import format_host
from tests.support.world import SYSTEM, World

PATH = "/v1/gitlab/ci/lab"
MOST = 100_000
"""Bytes of a body."""


@dataclass
class Replicas:
    """A leader, which takes down what it hears, and one that stands by."""

    standby: TestClient  # type: ignore[type-arg]  # its arguments say nothing here
    world: World
    health: Health
    heard: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    """What the standby counts."""


@pytest.fixture(params=["127.0.0.1"])
async def replicas(request: pytest.FixtureRequest) -> AsyncIterator[Replicas]:
    heard: list[tuple[str, bytes, dict[str, str]]] = []

    async def hear(heard_of: web.Request) -> web.Response:
        heard.append((heard_of.raw_path, await heard_of.read(), dict(heard_of.headers)))
        return web.Response(status=401)

    leading = web.Application()
    leading.router.add_route("*", "/{path:.*}", hear)
    world = await asyncio.to_thread(World)  # it runs a separate event loop
    health = Health(Hearing(), 120)
    outcomes = Counter[str]()
    async with TestServer(leading, host=request.param) as server:
        settings = replace(world.deps.settings, identity="standby")
        forwarder = Forwarder(
            world.kubernetes, settings, health, server.port or 0, MOST, lambda outcome: outcomes.update([outcome])
        )
        app = web.Application(middlewares=[forwarder.forward])
        app.router.add_get("/healthz", healthy)
        app.router.add_post(PATH, taken)
        async with TestClient(TestServer(app)) as standby:
            yield Replicas(standby, world, health, heard, outcomes)


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


@pytest.mark.parametrize("replicas", ["::1"], indirect=True)
async def test_a_leader_with_an_ipv6_address_is_reached(replicas: Replicas) -> None:
    await lead(replicas, podIP="0:0:0:0:0:0:0:1")
    assert (await replicas.standby.post(PATH, data=b"{}")).status == 401
    assert len(replicas.heard) == 1


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


@pytest.mark.parametrize("status", [{}, {"podIP": "127.0.0.2"}, {"podIP": "fe80::1%eth0"}, {"podIP": ["::1"]}])
async def test_where_the_leader_can_not_be_reached_it_is_said(replicas: Replicas, status: dict[str, str]) -> None:
    await lead(replicas, **status)
    assert (await replicas.standby.post(PATH)).status == 503


async def test_probes_are_each_replicas_own(replicas: Replicas) -> None:
    await lead(replicas, podIP="127.0.0.1")
    assert (await replicas.standby.get("/healthz")).status == 200


@given(st.ip_addresses())
def test_every_address_makes_a_url_that_leads_to_it(address: Any) -> None:
    url = URL.build(scheme="http", authority=f"{format_host(str(address))}:8080", path=PATH, encoded=True)
    assert (url.host, url.port, url.path) == (address.compressed, 8080, PATH)


@given(st.none() | st.integers() | st.text(max_size=40) | st.lists(st.text(max_size=3), max_size=2))
def test_what_is_no_address_is_no_host(address: object) -> None:
    try:
        host = format_host(address)
    except Retry:
        return
    assert URL(f"http://{host}:8080").port == 8080


async def test_a_compressed_body_arrives_unpacked_and_says_nothing_else(replicas: Replicas) -> None:
    await lead(replicas, podIP="127.0.0.1")
    packed = gzip.compress(b'{"object_kind": "build"}')
    assert (await replicas.standby.post(PATH, data=packed, headers={"Content-Encoding": "gzip"})).status == 401
    ((_, heard, headers),) = replicas.heard
    assert heard == b'{"object_kind": "build"}'
    assert "Content-Encoding" not in headers


@pytest.mark.parametrize(
    ("data", "headers", "status", "outcome"),
    [
        (b"x" * (MOST + 1), {}, 413, "TooLarge"),
        (gzip.compress(b"x" * (MOST + 1)), {"Content-Encoding": "gzip"}, 413, "TooLarge"),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400, "BrokenBody"),
    ],
)
async def test_a_body_that_can_not_be_taken_is_refused_by_the_standby(
    replicas: Replicas, data: bytes, headers: dict[str, str], status: int, outcome: str
) -> None:
    await lead(replicas, podIP="127.0.0.1")
    assert (await replicas.standby.post(PATH, data=data, headers=headers)).status == status
    assert replicas.outcomes == {outcome: 1}


async def test_a_body_that_does_not_come_is_given_up(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bessemer.web.forward.BODY_SECONDS", 0.1)
    await lead(replicas, podIP="127.0.0.1")
    server = replicas.standby.server
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1".encode())
    status = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()
    assert b" 408 " in status
    assert replicas.outcomes == {"TooSlow": 1}


async def test_the_leaders_address_is_asked_for_once_for_many_requests(replicas: Replicas) -> None:
    await lead(replicas, podIP="127.0.0.1")
    replicas.world.kubernetes.calls.clear()
    answers = await asyncio.gather(*(replicas.standby.post(PATH) for _ in range(20)))
    assert {answer.status for answer in answers} == {401}
    assert len(replicas.world.kubernetes.calls) == 2


async def test_that_there_is_no_leader_is_asked_for_once_for_many_requests(replicas: Replicas) -> None:
    answers = await asyncio.gather(*(replicas.standby.post(PATH) for _ in range(20)))
    assert {answer.status for answer in answers} == {503}
    assert len(replicas.world.kubernetes.calls) == 1
    assert replicas.outcomes == {"NoLeader": 20}


async def test_a_leader_that_has_gone_is_looked_for_by_the_next_request(replicas: Replicas) -> None:
    await lead(replicas, podIP="127.0.0.2")
    assert (await replicas.standby.post(PATH)).status == 503
    replicas.world.kubernetes.edit("pods", SYSTEM, "leader", {"status": {"podIP": "127.0.0.1"}})
    assert (await replicas.standby.post(PATH)).status == 401

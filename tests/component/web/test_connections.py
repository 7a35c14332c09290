"""Strangers at the port of webhooks, over real sockets: slow, silent, many; a real webhook is answered meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.engine.metrics import Metrics
from bessemer.kinds.runnerpool.demand import sources
from bessemer.web import connections, hooks
from bessemer.web.app import add_public_routes
from bessemer.web.connections import Limits, follow_requests, serve
from tests.support.examples import examples
from tests.support.pool_world import KEY, PROJECT, open_pool_world

PATH = f"/v1/gitlab/{KEY[0]}/{KEY[1]}"
LIMITS = Limits(most=20, most_of_one=12)
SECONDS = 10
HOOK = json.dumps(
    {"object_kind": "build", "build_id": 7, "build_status": "created", "project": {"path_with_namespace": PROJECT}}
).encode()


@dataclass
class Site:
    """A port, and who is connected to it."""

    port: int
    metrics: Metrics
    strangers: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def connect(self, sent: bytes = b"", address: str = "127.0.0.2") -> asyncio.StreamReader:
        """Connect as an unknown client, from a separate address, and send something."""
        pair = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        self.strangers.append(pair)
        pair[1].write(sent)
        return pair[0]

    async def send_hook(self, address: str = "127.0.0.1") -> int:
        """Send a whole webhook, as GitLab does; return the status of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: hook-secret\r\nContent-Length: {len(HOOK)}\r\n\r\n"
        writer.write(head.encode() + HOOK)
        status = (await asyncio.wait_for(reader.readline(), SECONDS)).split()
        writer.close()
        return int(status[1])

    def count(self, outcome: str) -> int:
        return int(self.metrics.registry.get_sample_value("bessemer_webhooks_total", {"outcome": outcome}) or 0)

    async def disconnect(self) -> None:
        for _, writer in self.strangers:
            writer.transport.abort()
        self.strangers.clear()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def open_site(limits: Limits = LIMITS) -> AsyncIterator[Site]:
    async with open_pool_world() as world:
        metrics = world.deps.metrics
        app = web.Application(middlewares=[follow_requests])
        add_public_routes(app, world.kind.routes.public, metrics)
        await world.apply()
        await world.settle()
        async with serve(app, 0, limits, metrics.count_webhook, "BESSEMER_LISTEN_PORT") as port:
            site = Site(port, metrics)
            try:
                yield site
            finally:
                await site.disconnect()


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Site]:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    async with open_site() as site:
        yield site
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


SILENT = {
    "half-open": b"",
    "slow head": b"POST / HTTP/1.1\r\nX-",
    "slow post, unknown pool": b"POST /v1/gitlab/no/such HTTP/1.1\r\nHost: x\r\nContent-Length: 65000\r\n\r\nx",
    "slow post, signed": f"POST {PATH} HTTP/1.1\r\nHost: x\r\nwebhook-signature: v1,x\r\n"
    f"webhook-timestamp: 1772431200\r\nContent-Length: 65000\r\n\r\nx".encode(),
}


@pytest.mark.parametrize("kind", SILENT)
async def test_a_real_webhook_is_answered_however_many_strangers_are_silent(site: Site, kind: str) -> None:
    for number in range(100):
        await site.connect(SILENT[kind], f"127.0.1.{number % 40 + 1}")
        if number % 10 == 0:
            assert await site.send_hook() == 204
    assert await site.send_hook() == 204


async def test_a_real_webhook_is_answered_among_strangers_from_the_same_proxy(site: Site) -> None:
    for _ in range(50):
        await site.connect(b"", "127.0.0.1")
    assert await site.send_hook() == 204
    assert site.count("Dropped") >= 50 - LIMITS.most_of_one


async def test_of_one_address_the_connection_goes_that_waits_longest_and_others_keep_theirs(site: Site) -> None:
    other = await site.connect(address="127.0.0.3")
    first = await site.connect()
    for _ in range(LIMITS.most_of_one):
        last = await site.connect()
    assert await ends(first)
    assert not await ends(last, 0.1)
    assert not await ends(other, 0.1)


async def test_of_all_addresses_the_one_with_the_most_connections_loses_one(site: Site) -> None:
    quiet = [await site.connect(address=f"127.0.2.{number}") for number in range(1, 9)]
    loud = [await site.connect(address="127.0.0.2") for _ in range(LIMITS.most_of_one)]
    await site.connect(address="127.0.2.9")
    assert await ends(loud[0])
    assert not any([await ends(one, 0.05) for one in (*quiet, *loud[1:])])


async def test_who_has_proven_itself_keeps_its_connection_while_the_body_comes(site: Site) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: hook-secret\r\nContent-Length: {len(HOOK)}\r\n\r\n"
    slow = await site.connect(head.encode() + HOOK[:5], "127.0.0.2")
    await asyncio.sleep(0.1)
    for _ in range(50):
        await site.connect(b"", "127.0.0.2")
    site.strangers[0][1].write(HOOK[5:])
    assert b" 204 " in await asyncio.wait_for(slow.readline(), SECONDS)


async def test_one_pool_does_not_keep_all_connections(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant proves itself for its own pool as often as it likes."""
    monkeypatch.setattr(hooks, "MOST_PROVEN", 5)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: hook-secret\r\nContent-Length: 99\r\n\r\n".encode()
    for number in range(60):
        await site.connect(head, f"127.0.1.{number + 1}")
    await asyncio.sleep(0.1)
    other = await site.connect(b"POST /v1/gitlab/no/such HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert b" 404 " in await asyncio.wait_for(other.readline(), SECONDS)


@contextmanager
def short_times(patch: pytest.MonkeyPatch) -> Iterator[None]:
    patch.setattr(connections, "HEAD_SECONDS", 0.3)
    patch.setattr(hooks, "BODY_SECONDS", 0.3)
    yield


@pytest.mark.parametrize(
    ("sent", "answer", "outcome"),
    [
        (b"", b"", ""),
        (b"POST / HT", b"", "BrokenHead"),
        (b"POST / HTTP/1.1\r\nA: " + b"b\r\nA: " * 30, b"", "BrokenHead"),
        (f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: hook-secret\r\nContent-Length: 9\r\n\r\n{{".encode(),
         b"408", "TooSlow"),
    ],
)  # fmt: skip
async def test_what_is_not_there_in_time_is_given_up(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, answer: bytes, outcome: str
) -> None:
    with short_times(monkeypatch):
        async with open_site() as site:
            reader = await site.connect(sent)
            line = await asyncio.wait_for(reader.readline(), SECONDS)
            assert answer in line
            assert await ends(reader)
            if outcome:
                assert site.count(outcome) == 1


async def test_a_head_without_end_is_cut_off(site: Site) -> None:
    reader = await site.connect(b"POST / HTTP/1.1\r\n")
    writer = site.strangers[0][1]
    for number in range(40):
        writer.write(f"Header-{number}: {'x' * 1000}\r\n".encode())
        await asyncio.sleep(0)
    assert await ends(reader)
    assert site.count("BrokenHead") == 1


async def test_a_connection_that_has_brought_a_webhook_may_bring_the_next(site: Site) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: hook-secret\r\nContent-Length: {len(HOOK)}\r\n\r\n"
    reader = await site.connect()
    for _ in range(3):
        site.strangers[0][1].write(head.encode() + HOOK)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)
        assert b" 204 " in answer
    assert site.count("Taken") == 3


async def test_who_has_not_proven_itself_does_not_keep_its_connection(site: Site) -> None:
    reader = await site.connect(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    assert b" 401 " in await asyncio.wait_for(reader.readline(), SECONDS)
    assert await ends(reader)


@pytest.mark.parametrize("path", [PATH, "/v1/gitlab/no/such", "/x"])
async def test_a_broken_body_that_need_not_be_read_is_no_error_of_the_server(site: Site, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"
    reader = await site.connect(head.encode() + b"x")
    assert await asyncio.wait_for(reader.readline(), SECONDS)
    site.strangers[0][1].write(b"x" * 8)
    assert await ends(reader)


async def test_a_refused_sender_of_a_long_body_sees_the_answer(site: Site) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: wrong\r\nContent-Length: 300000\r\n\r\n"
    reader = await site.connect(head.encode())
    site.strangers[0][1].write(b"x" * 300000)
    assert b" 401 " in await asyncio.wait_for(reader.readline(), SECONDS)


HEADERS = st.sampled_from(
    ["X-Gitlab-Token", "webhook-signature", "webhook-timestamp", "webhook-id", "Content-Encoding", "Transfer-Encoding",
     "Content-Length", "Expect", "Connection", "Upgrade", "Host", "X-Gitlab-Event", "Content-Type", ""]
)  # fmt: skip
VALUES = st.sampled_from(
    [b"hook-secret", b"v1,AAAA", b"1772431200", b"gzip", b"chunked", b"br", b"deflate", b"0", b"5", b"-1", b"1e3",
     b"99999999999999999999", b"100-continue", b"keep-alive", b"websocket", b"\xff\xfe", b"\x00", b""]
) | st.binary(max_size=20)  # fmt: skip
LINES = st.sampled_from(
    [b"POST " + PATH.encode(), b"POST " + PATH.encode() + b"/", b"GET /", b"PUT " + PATH.encode(), b"POST //x",
     b"POST http://[::1", b"POST " + PATH.encode() + b"%2f..", b"CONNECT a:1", b"PRI *", b"\x16\x03\x01", b"POST *"]
) | st.binary(max_size=30)  # fmt: skip
BODIES = st.sampled_from([HOOK, b"", b"{", b"5\r\nhello\r\n0\r\n\r\n", b"[" * 2000, b"\x1f\x8b\x08"]) | st.binary(
    max_size=60
)


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    requests=st.lists(
        st.tuples(LINES, st.lists(st.tuples(HEADERS, VALUES), max_size=5), BODIES), min_size=1, max_size=4
    )
)
def test_any_request_is_answered_without_an_internal_error(
    requests: list[tuple[bytes, list[tuple[str, bytes]], bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    asyncio.run(send_all(requests))
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def send_all(requests: list[tuple[bytes, list[tuple[str, bytes]], bytes]]) -> None:
    with pytest.MonkeyPatch.context() as patch, short_times(patch):
        async with open_site() as site:
            for line, headers, body in requests:
                head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
                reader = await site.connect(line + b" HTTP/1.1\r\n" + head + b"\r\n" + body)
                site.strangers[-1][1].write_eof()
                async with asyncio.timeout(SECONDS):
                    answer = await reader.read()
                assert not answer.startswith(b"HTTP/1.1 5"), answer
            assert await site.send_hook() == 204


async def ends(reader: asyncio.StreamReader, seconds: float = SECONDS) -> bool:
    """Return whether a connection is closed within some time."""
    try:
        async with asyncio.timeout(seconds):
            while await reader.read(65536):
                pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True

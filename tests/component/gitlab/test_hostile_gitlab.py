"""What answers at GitLab's URL may be anything: each request ends in time, in little memory, and says what is wrong.

Real connections on the loopback. The deadline is cut down from 20 s, so that a test takes a second.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bessemer.errors import BessemerError
from bessemer.gitlab import answers, transport
from bessemer.gitlab.answers import AnswerTooLarge
from bessemer.gitlab.client import GitLabConnector, connect_gitlab
from bessemer.gitlab.protocol import (
    GitLab,
    GitLabUnavailable,
    PendingJob,
    PendingJobs,
    RunnerRequest,
    Scope,
    ScopeType,
)
from bessemer.gitlab.repository import MESSAGE_CHARACTERS, RepositoryClient
from bessemer.kinds.runnerpool.demand.board import Board
from tests.component.gitlab.hostile import Answer, repeat, say, serve, tell

PROJECT, GROUP, INSTANCE = Scope(ScopeType.PROJECT, "hpc/sim"), Scope(ScopeType.GROUP, "hpc"), Scope(ScopeType.INSTANCE)
REQUEST = RunnerRequest(PROJECT, "pool", "marker", frozenset({"hpc"}), run_untagged=False, protected=False)
TOKEN, RUNNER_TOKEN = "glpat-the-access-token", "glrt-the-runner-token"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ZIPPED = OK + b"Content-Encoding: gzip\r\n"
MEGABYTE = b" " * (1 << 20)

Ask = Callable[[GitLab], Coroutine[Any, Any, object]]
CALLS: dict[str, Ask] = {
    "project": lambda gitlab: gitlab.list_pending_jobs(PROJECT),
    "group": lambda gitlab: gitlab.list_pending_jobs(GROUP),
    "instance": lambda gitlab: gitlab.list_pending_jobs(INSTANCE),
    "create": lambda gitlab: gitlab.create_runner(REQUEST),
    "list": lambda gitlab: gitlab.list_runners(PROJECT, "marker"),
    "update": lambda gitlab: gitlab.update_runner(7, REQUEST),
    "rotate": lambda gitlab: gitlab.rotate_runner(7),
    "delete": lambda gitlab: gitlab.delete_runner(7),
    "verify": lambda gitlab: gitlab.verify_runner(RUNNER_TOKEN),
    "manager": lambda gitlab: gitlab.delete_manager(RUNNER_TOKEN, "r_0123456789ab"),
    "expiry": lambda gitlab: gitlab.get_expiry(),
}


def zip_zeros(count: int, wbits: int = zlib.MAX_WBITS | 16) -> bytes:
    """Pack so many blanks, a thousand to one."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join([*(packer.compress(MEGABYTE) for _ in range(count >> 20)), packer.flush()])


def sized(body: bytes, coding: str) -> Answer:
    return say(OK + f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body)


BOMB = zip_zeros(64 << 20)
HOSTILE: dict[str, Answer] = {
    "gzip that unpacks a thousandfold": sized(BOMB, "gzip"),
    "deflate": sized(zip_zeros(64 << 20, zlib.MAX_WBITS), "deflate"),
    "brotli": sized(b"\x00" * 1000, "br"),
    "gzip in gzip": sized(gzip.compress(BOMB), "gzip, gzip"),
    "two codings": say(ZIPPED + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n", b"abcd"),
    "gzip that is none": sized(b"not gzip at all", "gzip"),
    "gzip that is cut": sized(gzip.compress(b"[" + b"1," * 1000)[:-20], "gzip"),
    "gzip with more behind it": sized(gzip.compress(b"[]") + gzip.compress(b"[]"), "gzip"),
    "a body without end": repeat(OK + b"\r\n", MEGABYTE),
    "a body in drips": repeat(OK + b"Content-Length: 1000000\r\n\r\n", b" ", 0.02),
    "chunks without end": repeat(CHUNKED, b"100000\r\n" + MEGABYTE + b"\r\n"),
    "chunks in drips": repeat(CHUNKED, b"1\r\n \r\n", 0.02),
    "chunks that are none": say(CHUNKED, b"zz\r\nhello\r\n"),
    "a chunk of more than there are bytes": say(CHUNKED, b"fffffffffffffffff\r\nhello\r\n"),
    "a chunk with endless words": repeat(CHUNKED + b"1;", b"a" * 1000),
    "trailers without end": repeat(CHUNKED + b"2\r\n[]\r\n0\r\n", b"X-A: b\r\n" * 100),
    "headers without end": repeat(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 1000),
    "headers in drips": repeat(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.02),
    "a header without end": repeat(b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 10000),
    "a status line without end": repeat(b"HTTP/1.1 200 ", b"O" * 10000),
    "status 100 for ever": repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "status 103 now and then": repeat(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 0.02),
    "another protocol": say(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"x" * 1000
    ),
    "HTTP/0.9": say(b"[]\r\n"),
    "SSH": say(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "two lengths": say(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]"),
    "a negative length": say(OK + b"Content-Length: -1\r\n\r\n[]"),
    "less than it says": say(OK + b"Content-Length: 100\r\n\r\n[]"),
    "nothing": say(b""),
    "silence": repeat(b"", b"", 0.05),
    "nothing but zeros": repeat(b"", b"\x00" * 1000),
    "no JSON": tell(200, b"<html>Welcome to the hotel</html>", "text/html"),
    "no JSON in spite of its type": tell(200, b"{"),
    "JSON that nests": tell(200, b"[" * 100_000),
    "JSON of too many values": tell(200, b"[" + b"[]," * 300_000 + b"[]]"),
    "JSON with a number that is none": tell(200, b'{"id": NaN}'),
    "JSON with an endless number": tell(200, b'{"id": 1e999, "token": "glrt-x"}'),
    "JSON with a lone surrogate": tell(200, b'{"id": 7, "token": "\\ud800"}'),
    "a text that is no UTF-8": tell(200, b'{"id": 7, "token": "\xff"}'),
    "nothing in an answer of success": tell(200, b""),
    "redirects in a circle": tell(302, b"", Location="/elsewhere"),
    "a redirect to itself": tell(307, b"", Location=""),
    "a redirect to no URL": tell(302, b"", Location="http://[::1"),
    "a redirect to a file": tell(302, b"", Location="file:///etc/passwd"),
    "a redirect without a place": tell(302, b""),
}


@pytest.fixture
def _short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "REQUEST_SECONDS", 0.7)


@pytest.mark.usefixtures("_short_deadline")
@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
async def test_what_is_no_answer_of_gitlab_is_said_in_time_and_leaves_nothing(answer: Answer) -> None:
    before = set(threading.enumerate())
    async with serve(answer) as server:
        gitlab = connect_gitlab(server.url, TOKEN, None)
        for ask in (CALLS["project"], CALLS["verify"]):
            began = time.monotonic()
            with pytest.raises(GitLabUnavailable) as caught:
                await ask(gitlab)
            assert time.monotonic() - began < 15
            assert caught.value.message.isprintable()
            assert len(caught.value.message) < 400
        await gitlab.close()
        async with asyncio.timeout(30):
            await server.wait_until_left()
    assert {thread.name for thread in set(threading.enumerate()) - before} <= {"asyncio_0", "asyncio_1", "asyncio_2"}


@pytest.mark.usefixtures("_short_deadline")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["gzip that unpacks a thousandfold", "a body in drips", "no JSON"])
async def test_every_call_is_bounded(call: str, kind: str) -> None:
    async with serve(HOSTILE[kind]) as server, asyncio.timeout(60):
        gitlab = connect_gitlab(server.url, TOKEN, None)
        with pytest.raises(GitLabUnavailable):
            await CALLS[call](gitlab)
        await gitlab.close()


@pytest.mark.usefixtures("_short_deadline")
async def test_a_tls_handshake_that_drips_ends_in_time() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            for octet in b"\x16\x03\x03\x40\x00\x02":
                writer.write(bytes([octet]))
                await asyncio.sleep(0.2)
        writer.transport.abort()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    gitlab = connect_gitlab(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", TOKEN, None)
    async with asyncio.timeout(60):
        with pytest.raises(GitLabUnavailable, match=r"no whole answer within 0\.7 s"):
            await gitlab.list_pending_jobs(PROJECT)
    await gitlab.close()
    await asyncio.sleep(0.8)  # the rest of the drips
    server.close()


@pytest.mark.usefixtures("_short_deadline")
async def test_a_server_that_takes_no_connection_ends_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        gitlab = connect_gitlab(f"http://127.0.0.1:{full.getsockname()[1]}", TOKEN, None)
        async with asyncio.timeout(60):
            with pytest.raises(GitLabUnavailable, match=r"no whole answer within 0\.7 s"):
                await gitlab.list_pending_jobs(PROJECT)
        await gitlab.close()
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", CALLS)
async def test_no_token_goes_where_gitlab_redirects_to(call: str, status: int) -> None:
    async with serve(tell(200, b"[]")) as evil:
        async with serve(tell(status, b"", Location=f"{evil.url}/elsewhere")) as server, asyncio.timeout(60):
            gitlab = connect_gitlab(server.url, TOKEN, None)
            with pytest.raises(GitLabUnavailable) as caught:
                await CALLS[call](gitlab)
            await gitlab.close()
            assert len(server.heard) == 1
        assert evil.heard == []
    said = f"{server.url} redirects to {evil.url}, where no token is sent: if that is your GitLab,"
    assert caught.value.message == f"{said} set spec.gitlab.url to it"


async def test_a_redirect_from_http_to_https_of_the_same_host_is_said_and_not_followed() -> None:
    async with serve(tell(301, b"", Location="https://127.0.0.1/api/v4/x?secret=1")) as server:
        gitlab = connect_gitlab(server.url, TOKEN, None)
        with pytest.raises(GitLabUnavailable, match=r"redirects to https://127\.0\.0\.1, where no token is sent"):
            await gitlab.list_pending_jobs(PROJECT)
        await gitlab.close()


async def test_a_redirect_on_the_same_gitlab_is_followed_as_of_a_project_that_was_renamed() -> None:
    answers = iter([tell(301, b"", Location="/api/v4/projects/12/jobs"), tell(200, b"[]")])

    async def answer(writer: asyncio.StreamWriter) -> None:
        await next(answers)(writer)

    async with serve(answer) as server:
        gitlab = connect_gitlab(server.url, TOKEN, None)
        assert (await gitlab.list_pending_jobs(PROJECT)).jobs == ()
        await gitlab.close()
    assert server.heard[1].startswith(b"GET /api/v4/projects/12/jobs HTTP/1.1\r\n")
    assert TOKEN.encode() in server.heard[1]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b'{"message": "stack trace: db_password=hunter2"}', "application/json"),
        (500, b"stack trace of an internal service: db_password=hunter2", "text/plain"),
        (502, b"<html>hunter2</html>", "text/html"),
        (403, b"<html>hunter2 is not allowed</html>", "text/html"),
        (403, b'{"message": "hunter2 is not allowed"}', "application/json"),
        (401, b'{"hunter2": 1}', "application/json"),
        (404, b"hunter2 not found", "text/plain"),
        (418, b'["hunter2"]', "application/json"),
        (400, b'{"reason": "hunter2"}', "application/json"),
    ],
)
@pytest.mark.parametrize("call", CALLS)
async def test_of_what_another_service_says_nothing_is_shown_and_nothing_is_made_of_it(
    call: str, status: int, body: bytes, kind: str
) -> None:
    async with serve(tell(status, body, kind)) as server:
        gitlab = connect_gitlab(server.url, TOKEN, None)
        with pytest.raises(GitLabUnavailable) as caught:
            await CALLS[call](gitlab)
        await gitlab.close()
    assert "hunter2" not in str(caught.value)
    assert str(status) in caught.value.message


@pytest.mark.parametrize(
    ("status", "said", "shown"),
    [
        (401, {"message": "401 Unauthorized"}, "GitLab does not know the token: 401 Unauthorized"),
        (
            401,
            {"error": "invalid_token", "error_description": "Token is expired. You can either do re-authorization"},
            "the access token has expired: 401 Token is expired. You can either do re-authorization",
        ),
        (
            401,
            {"error": "invalid_token", "error_description": "Token was revoked. You have to re-authorize"},
            "the access token was revoked: 401 Token was revoked. You have to re-authorize",
        ),
        (403, {"message": "403 Forbidden"}, "the token may not do that: 403 Forbidden"),
        (403, {"error": "insufficient_scope", "error_description": "The request requires higher privileges"}, "higher"),
        (400, {"message": {"tag_list": ["is too long"]}}, "400 tag_list: is too long"),
        (409, {"message": "409 Conflict\x1b]0;pwned\x07\u2028"}, "409 Conflict"),
        (422, {"message": "x" * 5000}, "422 xxxx"),
    ],
)
async def test_what_gitlab_itself_says_is_shown_in_a_short_printable_line(
    status: int, said: dict[str, object], shown: str
) -> None:
    async with serve(tell(status, json.dumps(said).encode())) as server:
        gitlab = connect_gitlab(server.url, TOKEN, None)
        with pytest.raises(BessemerError) as caught:
            await gitlab.update_runner(7, REQUEST)
        await gitlab.close()
    assert shown in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 200
    reasons = {401: "AccessTokenRefused", 403: "GitLabRefused"}
    assert caught.value.reason == reasons.get(status, "GitLabRejected")


REFUSALS = {
    "GitLab": (403, {"message": "403 Forbidden"}, True),
    "GitLab, for an orphaned runner": (403, {"message": "403 Forbidden - Runner is orphaned"}, True),
    "GitLab, for an address": (403, {"message": "403 Forbidden - Your IP"}, False),
    "a firewall that speaks like GitLab": (403, {"message": "403 Forbidden by policy"}, False),
    "an orphaned runner": (422, {"message": "Runner is orphaned"}, True),
    "another JSON service": (403, {"message": "Forbidden"}, False),
    "a firewall": (403, {"error": "blocked by policy 7"}, False),
    "a list": (403, ["403 Forbidden"], False),
    "400": (400, {"error": "token is missing"}, False),
    "409": (409, {"message": "409 Conflict"}, False),
    "422": (422, {"message": "422 Unprocessable"}, False),
    "401": (401, {"message": "401 Unauthorized"}, False),
    "404": (404, {"message": "404 Not Found"}, False),
}


@pytest.mark.parametrize(("status", "body", "refused"), REFUSALS.values(), ids=REFUSALS)
async def test_a_runners_token_is_refused_by_gitlab_alone(status: int, body: object, refused: bool) -> None:
    async with serve(tell(status, json.dumps(body).encode())) as server:
        gitlab = connect_gitlab(server.url, None, None)
        if refused:
            assert await gitlab.verify_runner(RUNNER_TOKEN) is None
        else:
            with pytest.raises(GitLabUnavailable):
                await gitlab.verify_runner(RUNNER_TOKEN)
        await gitlab.close()
    assert all(b"PRIVATE-TOKEN" not in head for head in server.heard)


async def test_jobs_with_names_without_end_are_kept_short_and_those_of_too_many_tags_not_at_all() -> None:
    jobs = [
        {"id": 1, "name": "n" * 1_000_000, "ref": "r" * 1_000_000, "tag_list": ["hpc"]},
        {"id": 2, "name": "many", "tag_list": [f"t{number}" for number in range(2000)]},
        {"id": 3, "name": "long", "tag_list": ["t" * 1_000_000]},
        {"id": 4, "name": "\x1b]0;pwned\x07evil\u2028\u202e", "tag_list": ["hpc"]},
    ]
    async with serve(tell(200, json.dumps(jobs).encode())) as server:
        gitlab = connect_gitlab(server.url, TOKEN, None)
        found = (await gitlab.list_pending_jobs(PROJECT)).jobs
        await gitlab.close()
    assert [job.id for job in found] == [1, 4]
    assert all(len(job.name) <= 255 and len(job.ref) <= 255 and job.name.isprintable() for job in found)


async def test_a_page_that_is_too_large_is_read_in_smaller_ones() -> None:
    """A hundred jobs of one commit with a message of 66 KB: more than is read of one answer."""
    jobs = [{"id": number, "name": "x", "tag_list": [], "commit": {"message": "m" * 66_000}} for number in range(120)]
    pages: list[bytes] = []

    async def answer(writer: asyncio.StreamWriter) -> None:
        query = dict(part.split("=") for part in server.heard[-1].split(b" ")[1].decode().split("?")[1].split("&"))
        size, page = int(query["per_page"]), int(query["page"])
        pages.append(json.dumps(jobs[(page - 1) * size : page * size]).encode())
        await tell(200, pages[-1])(writer)

    async with serve(answer) as server:
        gitlab = connect_gitlab(server.url, TOKEN, None)
        found = await gitlab.list_pending_jobs(PROJECT)
        await gitlab.close()
    assert sorted(job.id for job in found.jobs) == list(range(120))
    assert found.complete
    assert max(map(len, pages[1:])) < 1 << 20


@pytest.mark.parametrize(("characters", "complete"), [(66_000, True), (1_000_000, False)])
async def test_branches_whose_commits_have_long_messages_are_read_in_smaller_pages_or_not_at_all(
    characters: int, complete: bool
) -> None:
    message = "m" * characters

    async def answer(writer: asyncio.StreamWriter) -> None:
        path, _, query = server.heard[-1].split(b" ")[1].decode().partition("?")
        page = dict(part.split("=") for part in query.split("&"))
        size, number = int(page["per_page"]), int(page["page"])
        names = [f"b{one}" for one in range(120 if path.endswith("/branches") else 0)][(number - 1) * size :][:size]
        refs = [{"name": name, "protected": False, "commit": {"id": "a" * 40, "message": message}} for name in names]
        await tell(200, json.dumps(refs).encode())(writer)

    async with serve(answer) as server:
        client = RepositoryClient(GitLabConnector().open_transport(server.url, TOKEN, None))
        if complete:
            found = await client.list_heads("hpc/sim")
            assert set(found) == {f"refs/heads/b{one}" for one in range(120)}
            assert all(len(head.message) <= MESSAGE_CHARACTERS for head in found.values())
        else:
            with pytest.raises(AnswerTooLarge):
                await client.list_heads("hpc/sim")
        await client.close()


async def test_a_name_that_is_looked_up_for_ever_keeps_no_other_gitlab_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "REQUEST_SECONDS", 4)
    ended, look_up = threading.Event(), socket.getaddrinfo

    def hang(host: str, *arguments: Any, **options: Any) -> Any:
        if host == "hangs.example":
            ended.wait(20)
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    async with serve(tell(200, b"[]")) as server, asyncio.timeout(60):
        hanging = [connect_gitlab("http://hangs.example", TOKEN, None) for _ in range(40)]
        waiting = [asyncio.create_task(gitlab.list_pending_jobs(PROJECT)) for gitlab in hanging]
        healthy = connect_gitlab(server.url.replace("127.0.0.1", "localhost"), TOKEN, None)
        await asyncio.sleep(0.05)
        assert (await healthy.list_pending_jobs(PROJECT)).jobs == ()
        said = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, GitLabUnavailable) for error in said)
        for gitlab in (*hanging, healthy):
            await gitlab.close()
        ended.set()


async def test_large_answers_in_drips_keep_no_other_gitlab_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LARGE_SECONDS", 0.5)
    connector, jobs = GitLabConnector(), [{"id": 1, "name": "x", "tag_list": [], "rest": "y" * 200_000}]
    drips = repeat(OK + b"Content-Length: 4000000\r\n\r\n" + b" " * 100_000, b" ", 0.02)
    async with serve(drips) as hostile, serve(tell(200, json.dumps(jobs).encode())) as server, asyncio.timeout(60):
        dripping = [connector.connect(hostile.url, TOKEN, None) for _ in range(2 * answers.LARGE_AT_ONCE)]
        waiting = [asyncio.create_task(gitlab.list_pending_jobs(PROJECT)) for gitlab in dripping]
        await asyncio.sleep(0.3)
        healthy, began = connector.connect(server.url, TOKEN, None), time.monotonic()
        assert [job.id for job in (await healthy.list_pending_jobs(PROJECT)).jobs] == [1]
        assert time.monotonic() - began < transport.REQUEST_SECONDS / 4
        said = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, GitLabUnavailable) for error in said)
        for gitlab in (*dripping, healthy):
            await gitlab.close()


async def test_jobs_of_a_list_have_so_much_room_and_no_more() -> None:
    tags = [f"{number:0255}" for number in range(50)]
    jobs = [{"id": number, "name": "x" * 255, "tag_list": tags} for number in range(100)]
    async with serve(tell(200, json.dumps(jobs).encode())) as server:
        gitlab = connect_gitlab(server.url, TOKEN, None)
        found = await gitlab.list_pending_jobs(PROJECT)
        await gitlab.close()
    assert not found.complete
    assert 70 < len(found.jobs) < 90
    assert len(server.heard) == 1
    assert "more jobs wait than the" in found.note


def test_no_board_grows_with_lists_that_are_not_complete() -> None:
    board, when = Board(), datetime(2026, 3, 2, tzinfo=UTC)
    for poll in range(10):
        jobs = (PendingJob(2000 * poll + number, "a/b", frozenset()) for number in range(2000))
        board.put_poll(PendingJobs(tuple(jobs), complete=False), when + timedelta(minutes=poll))
    assert [waiting.job.id for waiting in board.list_jobs()] == list(range(15_000, 20_000))

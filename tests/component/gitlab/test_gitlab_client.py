"""The client for GitLab when GitLab does not answer as it should, over real connections on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from bessemer.gitlab import client
from bessemer.gitlab.client import connect_gitlab
from bessemer.gitlab.protocol import GitLab, GitLabUnavailable, Scope, ScopeType
from bessemer.gitlab.transport import AT_ONCE

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
SCOPE = Scope(ScopeType.PROJECT, "hpc/sim")


@asynccontextmanager
async def serve(answer: Callable[[asyncio.StreamWriter], object]) -> AsyncIterator[GitLab]:
    """Return a client for a server that reads a request's head and then does as it likes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            made = answer(writer)
            if asyncio.iscoroutine(made):
                await made
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    gitlab = connect_gitlab(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "token", None)
    try:
        yield gitlab
    finally:
        await gitlab.close()
        server.close()


async def test_an_answer_in_drips_is_not_waited_for_beyond_the_calls_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CALL_SECONDS", 0.3)
    ended = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"1000\r\n\r\n")
        while not ended.is_set():
            writer.write(b" ")  # each one in time for the timeout of a read
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 0.05)

    async with asyncio.timeout(10), serve(drip) as gitlab:
        with pytest.raises(GitLabUnavailable, match=r"no whole answer within 0\.3 s"):
            await gitlab.list_pending_jobs(SCOPE)
        ended.set()


async def test_a_gitlab_that_hangs_keeps_no_other_waiting() -> None:
    ended = asyncio.Event()

    def say_nothing_waits(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"2\r\n\r\n[]")

    async with asyncio.timeout(10), serve(lambda _: ended.wait()) as hanging, serve(say_nothing_waits) as healthy:
        waiting = [asyncio.create_task(hanging.list_pending_jobs(SCOPE)) for _ in range(AT_ONCE * 4)]
        for _ in range(AT_ONCE * 2):
            assert (await healthy.list_pending_jobs(SCOPE)).jobs == ()
        assert not any(task.done() for task in waiting)
        ended.set()
        await asyncio.gather(*waiting, return_exceptions=True)

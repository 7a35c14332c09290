"""Servers that are no GitLab: each reads a request's head and then does as it likes, and knows what it was sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


@dataclass
class Server:
    """One on the loopback, and the requests that it had."""

    url: str = ""
    heard: list[bytes] = field(default_factory=list)
    open: int = 0
    """Connections that are open at this moment."""

    async def wait_until_left(self) -> None:
        """Wait until the clients have closed all connections."""
        while self.open:  # noqa: ASYNC110  a test waits for what the loop does elsewhere
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serve(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve until the block is left."""
    server, tasks = Server(), dict[asyncio.Task[None] | None, asyncio.StreamWriter]()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks[asyncio.current_task()] = writer
        server.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    server.heard.append(await _read_request(reader))
                    await _run_until_closed(answer(writer), reader)
        finally:
            server.open -= 1
            writer.transport.abort()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    scheme = "https" if context else "http"
    server.url = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for writer in tasks.values():
            writer.transport.abort()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return head + await reader.readexactly(int(lengths[0]) if lengths else 0)


async def _run_until_closed(work: Coroutine[Any, Any, None], reader: asyncio.StreamReader) -> None:
    """Run the work until the client has closed the connection; it sends nothing before it is answered."""
    answering, closed = asyncio.create_task(work), asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait({answering, closed}, return_when=asyncio.FIRST_COMPLETED)
        if closed.done():
            raise ConnectionResetError
        answering.result()
    finally:
        for task in (answering, closed):
            task.cancel()
        await asyncio.gather(answering, closed, return_exceptions=True)


def say(head: bytes, *parts: bytes, then_close: bool = True) -> Answer:
    """Say just that."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then_close:
            writer.close()

    return answer


def repeat(head: bytes, part: bytes, pause: float = 0.0) -> Answer:
    """Say the head, and then the same for ever."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


def tell(status: int, body: bytes, kind: str = "application/json", **headers: str) -> Answer:
    """Say an answer in good order."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return say("\r\n".join([*lines, "", ""]).encode(), body, then_close=False)

"""Connections to the operator: how many, from whom, and which one goes when there are too many.

aiohttp limits neither their number nor the size of a request's head, and no other server that is kept well does it
by address (uvicorn refuses the latest connection, which is the real sender as soon as strangers have used up the
limit). So the protocol that aiohttp makes for each connection is extended here, by the methods that asyncio calls
and by ``handle_error``. aiohttp itself has the deadline for heads and idle connections (``keepalive_timeout``),
pauses a transport whose body is not read, and bounds the number and length of header fields."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bessemer.errors import Invalid
from bessemer.web.body import answer_at_once

HEAD_SECONDS = 10.0
"""Until the whole head of a request is there, and how long a connection may be idle. A head is one packet."""
HEAD_BYTES = 32 * 1024
"""Of the head of one request; nginx takes as much by default (large_client_header_buffers)."""
STOP_SECONDS = 5.0
"""For requests under way when the operator ends."""
BACKLOG = 128
"""Connections that are accepted before the limits are looked at; they count against the process' open files as well."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Limits:
    """How many connections there may be at once. Together with watches and clients they are fewer than 1024, which is
    all the files that a process may have open where nothing else is set."""

    most: int
    most_of_one: int
    """From one address: a proxy has one address for all that it passes on."""


class Connections:
    """All connections to one port, those that have waited longest first."""

    def __init__(self, limits: Limits, count: Callable[[str], None]) -> None:
        self.count = count
        self._limits = limits
        self._all: dict[Connection, str] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: Connection, address: str) -> None:
        """Take in a new connection; where there are too many, another one goes that has proven nothing yet.

        It is the one that has waited longest, of the address with the most: so strangers drive out each other, and a
        sender who proves itself at once, as a real one does, is served however many they are.
        """
        self._all[connection] = address
        self._by_address[address] += 1
        if self._by_address[address] > self._limits.most_of_one:
            self._drop_from(address)
        elif len(self._all) > self._limits.most:
            self._drop_from(self._find_crowded())

    def put_last(self, connection: Connection) -> None:
        """Record that a connection has just been used."""
        if connection in self._all:
            self._all[connection] = self._all.pop(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended; nothing where it is forgotten already."""
        address = self._all.pop(connection, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _find_crowded(self) -> str:
        unproven = Counter(address for connection, address in self._all.items() if not connection.proven)
        return unproven.most_common(1)[0][0]

    def _drop_from(self, address: str) -> None:
        # There is one at any rate: the new one.
        victim = next(one for one, where in self._all.items() if where == address and not one.proven)
        self.remove(victim)
        self.count("Dropped")
        victim.drop()


class Connection(web.RequestHandler):
    """One connection: aiohttp's, within limits."""

    def __init__(self, connections: Connections, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self.proven = False
        """Whether the sender of the request under way has proven who it is."""
        self._connections = connections
        self._in_head = True
        self._head_bytes = 0
        self._head_end = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, if it is not one too many."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._connections.add(self, str(peer[0]) if peer else "")

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        if self._in_head and self._head_bytes:
            self._connections.count("BrokenHead")
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what was sent, unless it is the head of a request and has no end."""
        if self._in_head and data:
            self._head_bytes += len(data)
            end = (self._head_end + data).find(b"\r\n\r\n")
            self._head_end = data[-3:]
            if end >= 0:
                self._in_head, self._head_bytes = False, 0
            elif self._head_bytes > HEAD_BYTES:
                self._abort()
                return
        super().data_received(data)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP, counted and without a trace in the log: strangers send it as often as they like."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        self._connections.count("BrokenHead")
        answer = web.Response(status=status)
        answer.force_close()
        return answer

    def begin_request(self) -> None:
        """Record that the head of a request is complete."""
        self._in_head, self._head_bytes = False, 0

    def end_request(self, request: web.Request) -> None:
        """Note that a request is answered: the next one may begin, or the rest of a body that is not read."""
        self.proven = False
        self._in_head, self._head_bytes, self._head_end = request.content.is_eof(), 0, b""
        self._connections.put_last(self)

    def drop(self) -> None:
        """End the connection at once, as there are too many."""
        self._head_bytes = 0
        self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


@web.middleware
async def follow_requests(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Track the state of each connection; only authenticated clients may reuse their connection."""
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.begin_request()
    try:
        answer = await handler(request)
        if not answer.prepared and not request.content.is_eof():
            return await answer_at_once(request, answer)
        if isinstance(connection, Connection) and not connection.proven:
            answer.force_close()
        return answer
    finally:
        if isinstance(connection, Connection):
            connection.end_request(request)


def mark_proven(request: web.Request) -> None:
    """Keep a request's connection, however many others come: its sender has proven who it is."""
    if isinstance(request.protocol, Connection):
        request.protocol.proven = True


@contextlib.asynccontextmanager
async def serve(
    app: web.Application, port: int, limits: Limits, count: Callable[[str], None], variable: str
) -> AsyncIterator[int]:
    """Serve an application on all addresses; yield the port. Raises Invalid, naming ``variable``, where it is taken."""
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(app, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    manager, connections = runner.server, Connections(limits, count)
    if manager is None:
        raise AssertionError("setup has made it")

    def make() -> Connection:
        options = {"keepalive_timeout": HEAD_SECONDS, "lingering_time": 0.0, "access_log": None}
        return Connection(connections, manager, **options)

    try:
        try:
            server = await loop.create_server(make, None, port, backlog=BACKLOG)
        except OSError as error:
            raise Invalid("PortTaken", f"{variable}: can't listen on port {port}: {error.strerror}") from error
        try:
            # With port 0, each address family has its own port.
            yield max(server.sockets, key=lambda one: one.family == socket.AF_INET).getsockname()[1]
        finally:
            server.close()
    finally:
        await runner.cleanup()

"""What reaches a replica that stands by goes on to the one that leads: a Service can't tell them apart; both are ready.

GitLab disables a webhook that is refused again and again, and does not send it again soon; so "try later" won't do.
Bodies pass in pieces: none is kept whole, and the leader judges the headers before it reads on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from bessemer.engine.boundary import contain
from bessemer.engine.settings import Settings
from bessemer.errors import BessemerError, Retry
from bessemer.kube.protocol import Kubernetes
from bessemer.web.body import BODY_SECONDS, BodyRefused, answer_at_once, check_length, is_packed, iterate_body
from bessemer.web.leader import LeaderFinder

PREFIX = "/v1/"
"""What only the leader can take; metrics and probes are each replica's own."""
FORWARDED = "X-Bessemer-Forwarded"
ANSWER_BYTES = 64 * 1024
"""Of the leader's answers, which have a line of text at most."""
_OWN_HEADERS = frozenset(name.lower() for name in (
    hdrs.HOST, hdrs.CONNECTION, hdrs.KEEP_ALIVE, hdrs.TE, hdrs.TRAILER, hdrs.TRANSFER_ENCODING, hdrs.UPGRADE,
    hdrs.PROXY_AUTHORIZATION, hdrs.CONTENT_ENCODING, hdrs.CONTENT_LENGTH, hdrs.EXPECT,
))  # fmt: skip
"""Headers that are not forwarded: hop-by-hop headers (RFC 9110, 7.6.1), and those about the encoding of the body."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = logging.getLogger(__name__)


class Leading(Protocol):
    """Knows whether this replica leads."""

    leading: bool


class Forwarder:
    """Sends requests on to the leader's ``port``; only once, and only to the pod that holds the Lease."""

    def __init__(
        self,
        kubernetes: Kubernetes,
        settings: Settings,
        health: Leading,
        port: int,
        most: int,
        count: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        self._finder = LeaderFinder(kubernetes, settings)
        self._settings = settings
        self._health = health
        self._port = port
        self._most = most
        self._count = count

    @web.middleware
    async def forward(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answer here while we lead; else with what the leader answers, or 503 where it can't be reached."""
        if self._health.leading or not request.rel_url.raw_path.startswith(PREFIX):
            return await handler(request)
        try:
            check_length(request, self._most)
            if FORWARDED in request.headers:
                raise Retry("NoLeader", "the leader has just changed")
            return await contain("a request to the leader", self._send(request))
        except BodyRefused as refused:
            self._count(refused.reason)
            return await answer_at_once(request, web.Response(status=refused.status))
        except BessemerError as error:
            _log.warning("the leader can't be reached: %s", error.message)
            self._count("NoLeader")
            return web.Response(status=503, text="standing by, and the leader can't be reached\n")

    async def _send(self, request: web.Request) -> web.Response:
        until = asyncio.get_running_loop().time() + BODY_SECONDS
        body = _Passage(request, self._most, until)
        try:
            async with asyncio.timeout_at(until):
                return await self._pass_on(request, body)
        except (TimeoutError, aiohttp.ClientError, OSError, BodyRefused) as error:
            refused = body.find_refusal()
            if refused is not None:
                raise refused from error
            self._finder.doubt()
            raise Retry("NoLeader", f"{type(error).__name__} {error}") from error

    async def _pass_on(self, request: web.Request, body: _Passage) -> web.Response:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS]
        headers.append((FORWARDED, self._settings.identity))
        if request.content_length is not None and not is_packed(request):
            headers.append((hdrs.CONTENT_LENGTH, str(request.content_length)))
        # Of its parts: whatever host the request names, it goes to the leader and nowhere else.
        url = URL.build(
            scheme="http",
            authority=f"{await self._finder.find()}:{self._port}",
            path=request.rel_url.raw_path,
            query_string=request.rel_url.raw_query_string,
            encoded=True,
        )
        data = body.iterate() if request.body_exists else None
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, url, headers=headers, data=data, allow_redirects=False) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.content.read(ANSWER_BYTES))


class _Passage:
    """A body on its way through. Whether it or the leader is at fault, the client's own error does not say."""

    def __init__(self, request: web.Request, most: int, until: float) -> None:
        self._pieces = iterate_body(request, most, until)
        self._refused: BodyRefused | None = None
        self._waiting = False

    async def iterate(self) -> AsyncIterator[bytes]:
        """Yield its pieces; raises BodyRefused."""
        self._waiting = True
        try:
            async for piece in self._pieces:
                self._waiting = False
                yield piece
                self._waiting = True
        except BodyRefused as refused:
            self._refused = refused
            raise
        self._waiting = False

    def find_refusal(self) -> BodyRefused | None:
        """Return what is wrong with it after it was given up; None where it is the leader that did not take it."""
        return self._refused or (BodyRefused(408, "TooSlow") if self._waiting else None)

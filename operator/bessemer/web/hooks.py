"""Receives webhooks of GitLab for an object of any kind: authenticates the sender, reads the body in pieces.

GitLab disables a webhook that fails four times in a row, so every request of an authenticated sender is answered with
2xx, useful or not. An unauthenticated request is answered before its body is read, except with a signature, which
covers the body.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from aiohttp import web

from bessemer.engine.boundary import contain
from bessemer.engine.deps import Deps
from bessemer.engine.loop import Key
from bessemer.errors import BessemerError
from bessemer.gitlab.hooks import HOOK_BYTES, Proof, begin_proof
from bessemer.web.body import BODY_SECONDS, BodyRefused, answer_at_once, check_length, iterate_body
from bessemer.web.connections import mark_proven

KEPT_BYTES = 64 * 1024
"""Maximum bytes of a signed body that is kept for a second check, in case the secret has just been changed."""
MOST_PROVEN = 32
"""Maximum authenticated requests per object whose connections are never closed in favour of others; one object must not
use up all connections."""


class Reader(Protocol):
    """Reads a body piece by piece."""

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body, whatever it is."""


B = TypeVar("B", bound=Reader)


@dataclass(frozen=True)
class HookSecret:
    """The secret with which webhooks of an object authenticate."""

    value: str | None
    """None: it is named in the spec, and does not exist or can't be used."""


@dataclass(frozen=True)
class Taken:
    """What became of an authenticated webhook."""

    outcome: str
    """One CamelCase word; counted."""
    text: str = ""
    """Shown by GitLab in the list of sent events; empty: the answer has no body (204)."""


@dataclass(frozen=True)
class HookTarget(Generic[B]):
    """The objects of a kind as receivers of webhooks."""

    unknown: str
    """Outcome that is counted for a request to no object, such as UnknownPool."""
    find_secret: Callable[[Key], HookSecret | None]
    """None: the object is unknown, or takes no webhooks."""
    refresh_secret: Callable[[Key], Awaitable[str | None]]
    """Reads the secret again, because it may have changed, at a limited rate; None: there is nothing new."""
    make_reader: Callable[[], B]
    take: Callable[[Key, B], Awaitable[Taken]]
    """Acts upon the body of an authenticated webhook; any error of Bessemer's is answered with 503."""


class HookReceiver(Generic[B]):
    """Handles the webhooks of one kind; the route has the parts ``namespace`` and ``name``."""

    def __init__(self, deps: Deps, target: HookTarget[B]) -> None:
        self._deps = deps
        self._target = target
        self._kept: Counter[Key] = Counter()

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Handle one webhook: 404 for an object that accepts none, 401 for an unauthenticated sender, otherwise 2xx.

        413, 408 and 400 for an unreadable body, from any sender; 503 where the event could not be taken.
        """
        key = (request.match_info["namespace"], request.match_info["name"])
        try:
            with ExitStack() as ends:
                return await contain("a webhook", self._take(request, key, ends))
        except BodyRefused as refused:
            self._deps.metrics.count_webhook(refused.reason)
            return await answer_at_once(request, web.Response(status=refused.status))
        except BessemerError as error:
            return self._answer(503, error.reason)

    async def _take(self, request: web.Request, key: Key, ends: ExitStack) -> web.StreamResponse:
        until = asyncio.get_running_loop().time() + BODY_SECONDS
        secret = self._target.find_secret(key)
        if secret is None:
            return self._answer(404, self._target.unknown)
        proof = self._begin(request, secret.value) or self._begin(request, await self._target.refresh_secret(key))
        if proof is None:
            return self._answer(401, "Unauthorized")
        check_length(request, HOOK_BYTES)
        if proof.in_headers:
            self._keep(request, key, ends)
        reader, start = self._target.make_reader(), b""
        async for piece in iterate_body(request, HOOK_BYTES, until):
            proof.feed(piece)
            reader.feed(piece)
            start = start + piece if len(start) <= KEPT_BYTES else start
        if not proof.holds() and not await self._holds_now(request, key, start):
            return self._answer(401, "Unauthorized")
        mark_proven(request)
        taken = await self._target.take(key, reader)
        return self._answer(200 if taken.text else 204, taken.outcome, taken.text)

    def _begin(self, request: web.Request, secret: str | None) -> Proof | None:
        return begin_proof(request.headers, secret, self._deps.now()) if secret is not None else None

    async def _holds_now(self, request: web.Request, key: Key, body: bytes) -> bool:
        """Return whether a short body is signed with the current secret."""
        if len(body) > KEPT_BYTES:
            return False
        proof = self._begin(request, await self._target.refresh_secret(key))
        if proof is None:
            return False
        proof.feed(body)
        return proof.holds()

    def _keep(self, request: web.Request, key: Key, ends: ExitStack) -> None:
        """Keep the connection of an authenticated sender while the body arrives."""
        if self._kept[key] >= MOST_PROVEN:
            return
        mark_proven(request)
        self._kept[key] += 1
        ends.callback(self._kept.subtract, {key: 1})

    def _answer(self, status: int, outcome: str, text: str = "") -> web.Response:
        self._deps.metrics.count_webhook(outcome)
        return web.Response(status=status, text=f"{text}\n" if text else None)

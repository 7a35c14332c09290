"""Handles GitLab's webhooks: authenticates the sender and passes the webhook to the source of the pool's demand.

Webhooks only make things faster: the next poll brings whatever a lost webhook would have reported. GitLab disables a
webhook that fails four times in a row, so every request of an authenticated sender is answered with 204, useful or not.
An unauthenticated request is answered before its body is read, except with a signature, which covers the body.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack

from aiohttp import web

from bessemer.engine.boundary import contain
from bessemer.engine.loop import Key
from bessemer.errors import BessemerError, Invalid
from bessemer.gitlab.hooks import HOOK_BYTES, HookReader, JobHook, Proof, begin_proof
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.runner.webhooks import get_webhook_access, refresh_webhook_secret
from bessemer.web.body import BODY_SECONDS, BodyRefused, answer_at_once, check_length, iterate_body
from bessemer.web.connections import mark_proven

PATH = "/v1/gitlab/{namespace}/{pool}"
KEPT_BYTES = 64 * 1024
"""Maximum bytes of a signed body that is kept for a second check, in case the secret has just been changed."""
MOST_PROVEN = 32
"""Maximum authenticated requests per pool whose connections are never closed in favour of others; one pool must not use
up all connections."""


class WebhookHandler:
    """Handles webhooks."""

    def __init__(self, deps: PoolDeps) -> None:
        self._deps = deps
        self._kept: Counter[Key] = Counter()

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Handle one webhook: 404 for a pool that accepts none, 401 for an unauthenticated sender, otherwise 204.

        413, 408 and 400 for an unreadable body, from any sender.
        """
        key = (request.match_info["namespace"], request.match_info["pool"])
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
        access = get_webhook_access(self._deps, key)
        if access is None:
            return self._answer(404, "UnknownPool")
        proof = self._begin(request, access.webhook_secret) or self._begin(request, await self._refresh(key))
        if proof is None:
            return self._answer(401, "Unauthorized")
        check_length(request, HOOK_BYTES)
        if proof.in_headers:
            self._keep(request, key, ends)
        reader, start = HookReader(), b""
        async for piece in iterate_body(request, HOOK_BYTES, until):
            proof.feed(piece)
            reader.feed(piece)
            start = start + piece if len(start) <= KEPT_BYTES else start
        if not proof.holds() and not await self._holds_now(request, key, start):
            return self._answer(401, "Unauthorized")
        mark_proven(request)
        return self._answer(204, self._put(key, reader))

    def _begin(self, request: web.Request, secret: str | None) -> Proof | None:
        return begin_proof(request.headers, secret, self._deps.now()) if secret is not None else None

    async def _refresh(self, key: Key) -> str | None:
        return await refresh_webhook_secret(self._deps, key)

    async def _holds_now(self, request: web.Request, key: Key, body: bytes) -> bool:
        """Return whether a short body is signed with the current secret."""
        proof = self._begin(request, await self._refresh(key)) if len(body) <= KEPT_BYTES else None
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

    def _put(self, key: Key, reader: HookReader) -> str:
        """Pass the webhook to the pool's source; return the outcome."""
        try:
            hook = reader.parse()
        except Invalid as error:
            return error.reason
        if not isinstance(hook, JobHook):
            return "Ignored"
        source = self._deps.sources.get_source(key)
        if source is not None:
            source.put_webhook(hook)
        return "Taken"

    def _answer(self, status: int, outcome: str) -> web.Response:
        self._deps.metrics.count_webhook(outcome)
        return web.Response(status=status)

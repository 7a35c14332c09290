"""What the operator serves over HTTP: webhooks on one port; metrics, probes and the progress of phases on another."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError

from bessemer.api.phase_contract import Progress
from bessemer.engine.hearing import Hearing
from bessemer.foreign import Unreadable, decode_json
from bessemer.gitlab.hooks import HOOK_BYTES
from bessemer.kinds.clusterbuild.deps import Deps
from bessemer.kinds.clusterbuild.progress import Key
from bessemer.web.body import BODY_SECONDS, BodyRefused, answer_at_once, read_body
from bessemer.web.connections import follow_requests, mark_proven
from bessemer.web.forward import Forwarder
from bessemer.web.hooks import WebhookHandler, add_routes

BODY_LIMIT = 64 * 1024
"""Bytes of one post of progress; that of a thousand nodes in groups is far less."""
FOLD_SECONDS = 1.0
"""Progress is folded into the status of a build at most that often."""


class Health:
    """What the probes ask."""

    def __init__(self, hearing: Hearing, deaf_seconds: float) -> None:
        self.hearing = hearing
        self.leading = False
        self._deaf_seconds = deaf_seconds

    def is_alive(self) -> bool:
        """Whether events flow, where they should."""
        return not self.leading or self.hearing.silence() < self._deaf_seconds


class ProgressHandler:
    """Takes progress posts: checks the build's token, keeps the latest, wakes the build now and then."""

    def __init__(self, deps: Deps, wake: Callable[[Key], None]) -> None:
        self._deps = deps
        self._wake = wake
        self._due: set[Key] = set()

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Take one post; 401 for a wrong token or what can be no build's, 400 for what is no progress.

        Nothing is looked up for it: each pass over a build says what its token is.
        """
        key = (request.match_info["namespace"], request.match_info["build"])
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._is_right(key, token.strip()):
            return web.Response(status=401)
        try:
            body = await read_body(request, BODY_LIMIT, asyncio.get_running_loop().time() + BODY_SECONDS)
        except BodyRefused as refused:
            return await answer_at_once(request, web.Response(status=refused.status))
        try:
            progress = Progress.model_validate(decode_json(body, most_bytes=BODY_LIMIT))
        except (Unreadable, ValidationError):
            return web.Response(status=400)
        self._deps.progress.put(key, progress)
        if key not in self._due:
            self._due.add(key)
            asyncio.get_running_loop().call_later(FOLD_SECONDS, self._fold, key)
        mark_proven(request)
        return web.Response(status=204)

    def _fold(self, key: Key) -> None:
        self._due.discard(key)
        self._wake(key)

    def _is_right(self, key: Key, token: str) -> bool:
        known = self._deps.progress.get_token(key)
        # aiohttp reads headers as UTF-8, whatever they are.
        given = token.encode(errors="surrogateescape")
        return known is not None and hmac.compare_digest(known.encode(), given)


def build_app(deps: Deps, wake: Callable[[Key], None], health: Health) -> web.Application:
    """Return the application for Prometheus, the kubelet and phase pods: metrics, probes, progress."""
    forwarder = Forwarder(deps.kubernetes, deps.settings, health, deps.settings.internal_port, BODY_LIMIT)
    app = web.Application(middlewares=[follow_requests, forwarder.forward])
    handler = ProgressHandler(deps, wake)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(deps.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if health.is_alive() else web.Response(status=503, text="no events\n")

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="leading\n" if health.leading else "standing by\n")

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    app.router.add_post("/v1/progress/{namespace}/{build}", handler.post)
    return app


def build_hook_app(deps: Deps, health: Health, hooks: WebhookHandler) -> web.Application:
    """Return the application for GitLab: webhooks, and nothing else, as strangers reach it."""
    forwarder = Forwarder(deps.kubernetes, deps.settings, health, deps.settings.listen_port, HOOK_BYTES, hooks.count)
    app = web.Application(middlewares=[follow_requests, forwarder.forward])
    add_routes(app, hooks)
    return app

"""The operator's web server: metrics, probes, and the door for the progress of running phases."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError

from bessemer.clusterbuild.keys import read_progress_token
from bessemer.deps import Deps
from bessemer.errors import BessemerError
from bessemer.hearing import Hearing
from bessemer.kube.client import SECRETS
from bessemer.kube.secretdata import read_secret
from bessemer.names import secret_name
from bessemer.phases.report import Progress
from bessemer.web.forward import Forwarder
from bessemer.web.hooks import PATH as HOOK_PATH
from bessemer.web.hooks import HookDoor
from bessemer.web.progress import Key

BODY_LIMIT = 64 * 1024
"""Bytes of one post; a thousand nodes in groups are far less, GitLab's webhooks of jobs as well."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""Of an object. Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/"""
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


class ProgressDoor:
    """Takes progress posts: checks the build's token, keeps the latest, wakes the build now and then."""

    def __init__(self, deps: Deps, wake: Callable[[Key], None]) -> None:
        self._deps = deps
        self._wake = wake
        self._tokens: dict[Key, str] = {}
        self._due: set[Key] = set()

    async def post(self, request: web.Request) -> web.Response:
        """Take one post; 401 for a wrong token or what can be no build's, 400 for what is no progress."""
        key = (request.match_info["namespace"], request.match_info["build"])
        # Before anything is looked up by them: nobody has proven anything yet.
        if not all(_NAME.fullmatch(part) for part in key):
            return web.Response(status=401)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not await self._is_right(key, token.strip()):
            return web.Response(status=401)
        try:
            progress = Progress.model_validate_json(await request.read())
        except ValidationError:
            return web.Response(status=400)
        self._deps.progress.put(key, progress)
        if key not in self._due:
            self._due.add(key)
            asyncio.get_running_loop().call_later(FOLD_SECONDS, self._fold, key)
        return web.Response(status=204)

    def _fold(self, key: Key) -> None:
        self._due.discard(key)
        self._wake(key)

    async def _is_right(self, key: Key, token: str) -> bool:
        known = self._tokens.get(key)
        if known is not None and hmac.compare_digest(known.encode(), token.encode()):
            return True
        # Not known, or that of an earlier build of the same name: look it up.
        try:
            secret = await self._deps.kubernetes.get_object(SECRETS, key[0], secret_name(key[1]))
        except BessemerError:
            return False
        current = read_progress_token(read_secret(secret, secret_name(key[1])))
        if current is None or not hmac.compare_digest(current.encode(), token.encode()):
            return False
        self._tokens[key] = current
        return True


def build_app(deps: Deps, wake: Callable[[Key], None], health: Health, hooks: HookDoor) -> web.Application:
    """Give the web application."""
    forwarder = Forwarder(deps.kubernetes, deps.settings, health, deps.settings.listen_port, BODY_LIMIT)
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[forwarder.forward])
    door = ProgressDoor(deps, wake)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(deps.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if health.is_alive() else web.Response(status=503, text="no events\n")

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="leading\n" if health.leading else "standing by\n")

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    app.router.add_post("/v1/progress/{namespace}/{build}", door.post)
    app.router.add_post(HOOK_PATH, hooks.post)
    return app

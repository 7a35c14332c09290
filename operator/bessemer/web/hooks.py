"""The door for GitLab's webhooks: who sends one is checked, and what it says goes to the source of the pool's demand.

What a webhook brings only makes things faster: what one that is lost would have said, the next poll brings.
"""

from __future__ import annotations

from aiohttp import web

from bessemer.errors import Invalid
from bessemer.gitlab.hooks import JobHook, parse_hook, verify
from bessemer.metrics import Metrics
from bessemer.runnerpool.deps import PoolDeps
from bessemer.runnerpool.registration import get_webhook_secret, refresh_webhook_secret

PATH = "/v1/gitlab/{namespace}/{pool}"


class HookDoor:
    """Takes webhooks."""

    def __init__(self, deps: PoolDeps, metrics: Metrics) -> None:
        self._deps = deps
        self._metrics = metrics

    async def post(self, request: web.Request) -> web.Response:
        """Take one: 404 for a pool that takes none, 401 for a sender that can't prove itself, 400 for no webhook."""
        key = (request.match_info["namespace"], request.match_info["pool"])
        secret = get_webhook_secret(self._deps, key)
        body = await request.read()
        if secret is None:
            return self._answer(404, "UnknownPool")
        if not verify(request.headers, body, [secret], self._deps.now()):
            fresh = await refresh_webhook_secret(self._deps, key)
            if fresh is None or not verify(request.headers, body, [fresh], self._deps.now()):
                return self._answer(401, "Unauthorized")
        try:
            hook = parse_hook(request.headers, body)
        except Invalid as error:
            return self._answer(400, error.reason)
        source = self._deps.sources.get_source(key)
        if source is not None and isinstance(hook, JobHook):
            source.put_webhook(hook)
        return self._answer(204, "Taken")

    def _answer(self, status: int, outcome: str) -> web.Response:
        self._metrics.webhooks.labels(outcome).inc()
        return web.Response(status=status)

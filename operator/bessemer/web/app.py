"""What the operator serves over HTTP: webhooks on one port; metrics, probes and what is the cluster's own on another.

What is served beyond metrics and probes are the routes of the kinds.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bessemer.engine.deps import Deps
from bessemer.engine.hearing import Hearing
from bessemer.engine.kind import Route
from bessemer.engine.metrics import Metrics
from bessemer.gitlab.hooks import HOOK_BYTES
from bessemer.web.connections import follow_requests
from bessemer.web.forward import Forwarder

INTERNAL_BYTES = 64 * 1024
"""Of a request on the port for the cluster."""
ANY_PATH = "/{path:.*}"


class Health:
    """What the probes ask."""

    def __init__(self, hearing: Hearing, deaf_seconds: float) -> None:
        self.hearing = hearing
        self.leading = False
        self._deaf_seconds = deaf_seconds

    def is_alive(self) -> bool:
        """Whether events flow, where they should."""
        return not self.leading or self.hearing.silence() < self._deaf_seconds


def build_app(deps: Deps, health: Health, routes: Iterable[Route]) -> web.Application:
    """Return the application for Prometheus, the kubelet and the cluster: metrics, probes, internal routes."""
    forwarder = Forwarder(deps.kubernetes, deps.settings, health, deps.settings.internal_port, INTERNAL_BYTES)
    app = web.Application(middlewares=[follow_requests, forwarder.forward])

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(deps.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if health.is_alive() else web.Response(status=503, text="no events\n")

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="leading\n" if health.leading else "standing by\n")

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    _add_routes(app, routes)
    return app


def build_hook_app(deps: Deps, health: Health, routes: Iterable[Route]) -> web.Application:
    """Return the application for GitLab: webhooks, and nothing else, as strangers reach it."""
    count = deps.metrics.count_webhook
    forwarder = Forwarder(deps.kubernetes, deps.settings, health, deps.settings.listen_port, HOOK_BYTES, count)
    app = web.Application(middlewares=[follow_requests, forwarder.forward])
    add_public_routes(app, routes, deps.metrics)
    return app


def add_public_routes(app: web.Application, routes: Iterable[Route], metrics: Metrics) -> None:
    """Have an application take webhooks, and count all else."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        status, outcome = (404, "UnknownPath") if request.method == hdrs.METH_POST else (405, "WrongMethod")
        metrics.count_webhook(outcome)
        return web.Response(status=status)

    _add_routes(app, routes)
    app.router.add_route(hdrs.METH_ANY, ANY_PATH, refuse, expect_handler=expect)


def _add_routes(app: web.Application, routes: Iterable[Route]) -> None:
    for route in routes:
        for path in (route.path, route.path + "/"):
            app.router.add_route(route.method, path, route.handle, expect_handler=expect)


async def expect(request: web.Request) -> None:
    """Ask for the body of a request that waits to be asked; other expectations are not met, and not refused either."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0

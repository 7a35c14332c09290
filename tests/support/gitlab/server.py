"""Puts the parts together to one web application."""

from __future__ import annotations

from aiohttp import web

from .clock import Clock
from .control_api import ControlApi
from .faults import Faults
from .page import add_page
from .rest_api import RestApi
from .runner_api import RunnerApi
from .state import GitLabState
from .webhooks import Webhooks

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of one request: an artifact."""


def build_app(state: GitLabState) -> web.Application:
    """Give the application."""
    faults = Faults()
    control = ControlApi(state, faults)
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[control.count, faults.strike])
    for api in (RunnerApi(state, faults), RestApi(state), control):
        api.add_routes(app.router)
    add_page(app.router, state)
    webhooks = Webhooks(state)

    async def close(_: web.Application) -> None:
        await webhooks.close()

    app.on_cleanup.append(close)
    return app


def build_state(external_url: str) -> GitLabState:
    """Give an empty GitLab whose clock runs."""
    return GitLabState(Clock(), external_url)

"""Puts the parts together to one web application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from .clock import Clock
from .control_api import ControlApi
from .faults import Faults
from .graphql_api import GraphQLApi
from .hooks_api import HooksApi
from .jobs import give_up_stuck_jobs
from .merge_requests_api import MergeRequestsApi
from .page import add_page
from .repository_api import RepositoryApi
from .rest_api import RestApi
from .runner_api import RunnerApi
from .state import GitLabState
from .webhooks import Webhooks

SWEEP_SECONDS = 30
"""By the simulator's clock; GitLab's own worker looks once an hour."""
BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of one request: an artifact."""


def build_app(state: GitLabState) -> web.Application:
    """Return the application."""
    faults = Faults()
    control = ControlApi(state, faults)
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[control.count, faults.strike])
    webhooks = Webhooks(state)
    rest = (RestApi(state), RepositoryApi(state), MergeRequestsApi(state), HooksApi(state, webhooks))
    for api in (RunnerApi(state, faults), *rest, GraphQLApi(state), control):
        api.add_routes(app.router)
    add_page(app.router, state)

    async def run_beside(_: web.Application) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(state))
        yield
        sweeper.cancel()
        await webhooks.close()

    app.cleanup_ctx.append(run_beside)
    return app


async def _sweep(state: GitLabState) -> None:
    """Return up stuck jobs for as long as the server runs."""
    while True:
        give_up_stuck_jobs(state)
        await state.clock.sleep(SWEEP_SECONDS)


def build_state(external_url: str) -> GitLabState:
    """Return an empty GitLab whose clock runs."""
    return GitLabState(Clock(), external_url)

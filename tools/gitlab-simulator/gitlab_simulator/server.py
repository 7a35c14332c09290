"""Puts the parts together to one web application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from .artifacts_api import ArtifactsApi
from .clock import Clock
from .control_api import ControlApi
from .deployments_api import DeploymentsApi
from .faults import Faults
from .files_api import FilesApi
from .git_http import GitHttp
from .graphql_api import GraphQLApi
from .hooks_api import HooksApi
from .jobs import give_up_stuck_jobs
from .members_api import MembersApi
from .merge_requests_api import MergeRequestsApi
from .notes_api import NotesApi
from .oidc_api import OidcApi
from .page import add_page
from .pipelines_api import PipelinesApi
from .repository_api import RepositoryApi
from .rest_api import RestApi
from .runner_api import RunnerApi
from .state import GitLabState
from .statuses_api import StatusesApi
from .webhooks import Webhooks, note_cause

SWEEP_SECONDS = 30
"""By the simulator's clock; GitLab's own worker looks once an hour."""
BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of one request: an artifact."""
REST = (
    RestApi, RepositoryApi, FilesApi, StatusesApi, PipelinesApi, ArtifactsApi, MergeRequestsApi, NotesApi, MembersApi,
    DeploymentsApi, OidcApi, GraphQLApi, GitHttp,
)  # fmt: skip
"""The parts that need no more than the state."""


def build_app(state: GitLabState) -> web.Application:
    """Return the application."""
    faults = Faults()
    webhooks = Webhooks(state)
    control = ControlApi(state, faults, webhooks)
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[control.count, note_cause, faults.strike])
    rest = [make(state) for make in REST]
    apis = (RunnerApi(state, faults), *rest, HooksApi(state, webhooks), control)
    for api in apis:
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

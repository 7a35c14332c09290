"""What other programs say of a commit: https://docs.gitlab.com/api/commits/#commit-status"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from .access import open_project, refuse, refuse_parameter
from .model import DEVELOPER, REPORTER
from .paging import build_page
from .params import get_flag, get_text, read_params
from .repository_api import get_commit
from .state import GitLabState
from .status_views import build_status
from .statuses import STATES, RefusedError, Report, list_statuses, report_status

BASE = "/api/v4/projects/{project}"
LOCK_SECONDS = 10
"""How long an update waits for another one of the same commit."""


class StatusesApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state
        self._locks: dict[tuple[int, str], asyncio.Lock] = {}
        """By the project and by how the request names the commit."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        router.add_get(f"{BASE}/repository/commits/{{sha}}/statuses", self.list_statuses)
        router.add_post(f"{BASE}/statuses/{{sha}}", self.report_status)

    async def list_statuses(self, request: web.Request) -> web.Response:
        """List what is said of a commit; a branch or tag in the path is found, and nothing is said of it."""
        project, _ = open_project(self._state, request, REPORTER)
        query = dict(request.query)
        get_commit(project, request.match_info["sha"])
        found = [
            build_status(self._state, one)
            for one in list_statuses(self._state, project, request.match_info["sha"], every=get_flag(query, "all"))
            if query.get("stage") in (None, getattr(one, "stage", "external"))
        ]
        for name in ("ref", "name", "pipeline_id"):
            found = [one for one in found if query.get(name) in (None, str(one[name]))]
        return build_page(request, self._state.external_url, found)

    async def report_status(self, request: web.Request) -> web.Response:
        """Take what a program says of a commit."""
        project, user = open_project(self._state, request, DEVELOPER, "api")
        report = _parse_report(await read_params(request))
        async with self._lock(project.id, request.match_info["sha"]):
            commit = get_commit(project, request.match_info["sha"])
            try:
                status = report_status(self._state, project, user, commit, report)
            except RefusedError as error:
                raise refuse(error.status, error.said) from error
        return web.json_response(build_status(self._state, status), status=201)

    @contextlib.asynccontextmanager
    async def _lock(self, project: int, sha: str) -> AsyncIterator[None]:
        """Hold the commit's lock for as long as an update takes. Raises a 409 if it is not to be had in time."""
        lock = self._locks.setdefault((project, sha), asyncio.Lock())
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                await lock.acquire()
        except TimeoutError:
            raise refuse(409, "Another update to this commit status is in progress") from None
        try:
            await asyncio.sleep(self._state.settings.status_update_seconds)
            yield
        finally:
            lock.release()


def _parse_report(params: dict[str, Any]) -> Report:
    """Raises a 400 for parameters that are missing or no such values."""
    state = get_text(params, "state")
    if state not in STATES:
        missing = "" if state is not None else "state is missing, "
        raise refuse_parameter(f"{missing}state does not have a valid value")
    numbers: dict[str, float | None] = {}
    for name in ("coverage", "pipeline_id"):
        text = get_text(params, name)
        try:
            numbers[name] = None if text is None else float(text) if name == "coverage" else int(text)
        except ValueError:
            raise refuse_parameter(f"{name} is invalid") from None
    pipeline = numbers["pipeline_id"]
    return Report(
        state=state,
        name=get_text(params, "name") or get_text(params, "context") or "default",
        ref=get_text(params, "ref"),
        pipeline_id=None if pipeline is None else int(pipeline),
        description=get_text(params, "description"),
        target_url=get_text(params, "target_url"),
        coverage=numbers["coverage"],
    )

"""Files at a commit, commits, and what other programs say of them.

Source: https://docs.gitlab.com/api/repository_files/, https://docs.gitlab.com/api/commits/
"""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from .access import open_project, refuse, refuse_parameter
from .model import DEVELOPER, REPORTER, Project
from .paging import build_page
from .params import get_flag, get_text, read_params
from .repository import Commit
from .repository_views import build_commit_details, build_file, build_status
from .state import GitLabState
from .statuses import STATES, RefusedError, Report, list_statuses, report_status

BASE = "/api/v4/projects/{project}"


class RepositoryApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them; aiohttp answers HEAD where it answers GET."""
        router.add_get(f"{BASE}/repository/files/{{path}}", self.get_file)
        router.add_get(f"{BASE}/repository/files/{{path}}/raw", self.get_raw_file)
        router.add_get(f"{BASE}/repository/commits/{{sha}}", self.get_commit)
        router.add_get(f"{BASE}/repository/commits/{{sha}}/statuses", self.list_statuses)
        router.add_post(f"{BASE}/statuses/{{sha}}", self.report_status)

    async def get_file(self, request: web.Request) -> web.Response:
        """Return a file at a commit, and in headers all but its content."""
        reference = request.query.get("ref", "")
        if not reference:
            raise refuse_parameter("ref is empty" if "ref" in request.query else "ref is missing, ref is empty")
        commit, about = self._find_file(request, reference)
        content = base64.b64encode(commit.files[about["file_path"]].content).decode()
        return web.json_response(about | {"content": content}, headers=_build_headers(about))

    async def get_raw_file(self, request: web.Request) -> web.Response:
        """Return a file's content as it is, at the default branch's head if nothing else is said."""
        reference = request.query.get("ref", "HEAD")
        if not reference:
            raise refuse_parameter("ref is empty")
        commit, about = self._find_file(request, reference)
        headers = _build_headers(about) | {"Content-Disposition": f'inline; filename="{about["file_name"]}"'}
        return web.Response(body=commit.files[about["file_path"]].content, content_type="text/plain", headers=headers)

    async def get_commit(self, request: web.Request) -> web.Response:
        """Return a commit."""
        project, _ = open_project(self._state, request, REPORTER)
        commit = _get_commit(project, request.match_info["sha"])
        stats = get_flag(dict(request.query), "stats", True)
        return web.json_response(build_commit_details(self._state, project, commit, stats=stats))

    async def list_statuses(self, request: web.Request) -> web.Response:
        """List what is said of a commit; a branch or tag in the path is found, and nothing is said of it."""
        project, _ = open_project(self._state, request, REPORTER)
        query = dict(request.query)
        _get_commit(project, request.match_info["sha"])
        found = [
            build_status(self._state, one)
            for one in list_statuses(self._state, project, request.match_info["sha"], every=get_flag(query, "all"))
            if query.get("stage") in (None, getattr(one, "stage", "external"))
        ]
        for name in ("ref", "name"):
            found = [one for one in found if query.get(name) in (None, one[name])]
        return build_page(request, self._state.external_url, found)

    async def report_status(self, request: web.Request) -> web.Response:
        """Take what a program says of a commit."""
        project, user = open_project(self._state, request, DEVELOPER, "api")
        params = await read_params(request)
        report = _parse_report(params)
        commit = _get_commit(project, request.match_info["sha"])
        try:
            status = report_status(self._state, project, user, commit, report)
        except RefusedError as error:
            raise refuse(error.status, error.said) from error
        return web.json_response(build_status(self._state, status), status=201)

    def _find_file(self, request: web.Request, reference: str) -> tuple[Commit, dict[str, Any]]:
        project, _ = open_project(self._state, request, REPORTER, "api", "read_api", "read_repository")
        path = request.match_info["path"]
        if ".." in path.split("/"):
            raise refuse_parameter("file_path should be a valid file path")
        commit = _get_commit(project, reference)
        if path not in commit.files:
            raise refuse(404, "404 File Not Found")
        return commit, build_file(project, commit, path, reference)


def _get_commit(project: Project, reference: str) -> Commit:
    commit = project.repository.find_commit(reference, project.default_branch)
    if commit is None:
        raise refuse(404, "404 Commit Not Found")
    return commit


def _build_headers(about: dict[str, Any]) -> dict[str, str]:
    """``file_name`` is X-Gitlab-File-Name, and so on."""
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in about.items()}
    return {f"X-Gitlab-{name.replace('_', '-').title()}": text for name, text in texts.items()}


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

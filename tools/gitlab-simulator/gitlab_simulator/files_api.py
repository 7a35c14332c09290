"""Files at a commit: https://docs.gitlab.com/api/repository_files/

A symbolic link is a file whose content is its target, as git has it.
"""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from .access import open_project, refuse, refuse_parameter
from .model import REPORTER
from .repository_api import get_commit
from .repository_views import build_file
from .state import GitLabState

BASE = "/api/v4/projects/{project}/repository/files/{path}"


class FilesApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them; aiohttp answers HEAD where it answers GET."""
        router.add_get(BASE, self.get_file)
        router.add_get(f"{BASE}/raw", self.get_raw_file)

    async def get_file(self, request: web.Request) -> web.Response:
        """Return a file at a commit, and in headers all but its content."""
        reference = request.query.get("ref", "")
        if not reference:
            raise refuse_parameter("ref is empty" if "ref" in request.query else "ref is missing, ref is empty")
        about, content = self._find_file(request, reference)
        encoded = base64.b64encode(content).decode()
        return web.json_response(about | {"content": encoded}, headers=_build_headers(about))

    async def get_raw_file(self, request: web.Request) -> web.Response:
        """Return a file's content as it is, at the default branch's head if nothing else is said."""
        reference = request.query.get("ref", "HEAD")
        if not reference:
            raise refuse_parameter("ref is empty")
        about, content = self._find_file(request, reference)
        headers = _build_headers(about) | {"Content-Disposition": f'inline; filename="{about["file_name"]}"'}
        return web.Response(body=content, content_type="text/plain", headers=headers)

    def _find_file(self, request: web.Request, reference: str) -> tuple[dict[str, Any], bytes]:
        project, _ = open_project(self._state, request, REPORTER, "api", "read_api", "read_repository", jobs=True)
        path = request.match_info["path"]
        if ".." in path.split("/"):
            raise refuse_parameter("file_path should be a valid file path")
        commit = get_commit(project, reference)
        entry = project.repository.find_file(commit.sha, path)
        if entry is None:
            raise refuse(404, "404 File Not Found")
        return build_file(project, commit, entry, reference), project.repository.read_blob(entry.id)


def _build_headers(about: dict[str, Any]) -> dict[str, str]:
    """``file_name`` is X-Gitlab-File-Name, and so on."""
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in about.items()}
    return {f"X-Gitlab-{name.replace('_', '-').title()}": text for name, text in texts.items()}

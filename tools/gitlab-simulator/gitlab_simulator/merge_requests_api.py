"""Merge requests: opened, changed, merged; their commits, changes and pipelines.

Source: https://docs.gitlab.com/api/merge_requests/
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from . import merge_requests
from .access import open_project, refuse, refuse_parameter
from .git.objects import Commit
from .merge_request_views import build_merge_request, build_merge_request_details, build_version
from .model import DEVELOPER, REPORTER, MergeRequest, Project, User
from .paging import build_page
from .params import get_number, get_text, read_params
from .repository_api import get_commit
from .repository_views import build_change
from .spec import MergeRequestSpec
from .state import GitLabState, NotThereError
from .views import build_commit, build_pipeline

PROJECT = "/api/v4/projects/{project}"
BASE = rf"{PROJECT}/merge_requests/{{iid:\d+}}"
FILTERS = ("state", "source_branch", "target_branch", "author_id")


class MergeRequestsApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        router.add_get(f"{PROJECT}/merge_requests", self.list_merge_requests)
        router.add_post(f"{PROJECT}/merge_requests", self.create)
        router.add_get(f"{PROJECT}/repository/commits/{{sha}}/merge_requests", self.list_of_commit)
        router.add_get(BASE, self.get_merge_request)
        router.add_put(BASE, self.update)
        router.add_put(f"{BASE}/merge", self.merge)
        router.add_get(f"{BASE}/commits", self.list_commits)
        router.add_get(f"{BASE}/changes", self.get_changes)
        router.add_get(f"{BASE}/diffs", self.list_diffs)
        router.add_get(f"{BASE}/pipelines", self.list_pipelines)
        router.add_get(f"{BASE}/versions", self.list_versions)

    async def list_merge_requests(self, request: web.Request) -> web.Response:
        """List those of a project, the latest first."""
        project, _ = open_project(self._state, request, REPORTER)
        found = list(reversed(project.merge_requests.values()))
        for name in FILTERS:
            wanted = request.query.get(name)
            found = [one for one in found if wanted in (None, "all", str(getattr(one, name)))]
        shown = [build_merge_request(self._state, project, one) for one in found]
        return build_page(request, self._state.external_url, shown)

    async def list_of_commit(self, request: web.Request) -> web.Response:
        """List those that a commit is in, or by which it has come into the target branch."""
        project, _ = open_project(self._state, request, REPORTER)
        commit = get_commit(project, request.match_info["sha"])
        found = [
            build_merge_request(self._state, project, one)
            for one in project.merge_requests.values()
            if commit.sha in {one.merge_commit_sha, *(found.sha for found in _list_commits(project, one))}
        ]
        return build_page(request, self._state.external_url, found)

    async def create(self, request: web.Request) -> web.Response:
        """Open one; the project of the path is where it comes from."""
        source, user = open_project(self._state, request, DEVELOPER, "api")
        params = await read_params(request)
        target = self._state.projects.get(get_number(params, "target_project_id") or source.id)
        if target is None or not self._state.compute_access(user, target.full_path):
            raise refuse(404, "404 Not found")
        spec = MergeRequestSpec(
            source_branch=get_text(params, "source_branch", required=True) or "",
            target_branch=get_text(params, "target_branch", required=True) or "",
            source_project=source.full_path,
            title=get_text(params, "title", required=True) or "",
            description=get_text(params, "description") or "",
            author=user.username,
            labels=_parse_labels(params.get("labels")),
        )
        same = merge_requests.find_open(target, source, spec)
        if same is not None:
            raise refuse(409, [f"Another open merge request already exists for this source branch: !{same.iid}"])
        try:
            made = merge_requests.open_merge_request(self._state, target, spec)
        except NotThereError as error:
            raise refuse(409, [f"{error} not found"]) from error
        return web.json_response(build_merge_request_details(self._state, target, made), status=201)

    async def get_merge_request(self, request: web.Request) -> web.Response:
        """Return one."""
        project, merge_request, _ = open_merge_request(self._state, request)
        return web.json_response(build_merge_request_details(self._state, project, merge_request))

    async def update(self, request: web.Request) -> web.Response:
        """Change title, description, target branch or labels; close it, open it again."""
        project, merge_request, user = open_merge_request(self._state, request, "api")
        access = self._state.compute_access(user, project.full_path)
        if access < DEVELOPER and merge_request.author_id != user.id:
            raise refuse(403, "403 Forbidden")
        params = await read_params(request)
        wanted: dict[str, Any] = {
            name: str(params[name])
            for name in ("title", "description", "target_branch")
            if params.get(name) is not None
        }
        if "labels" in params:
            wanted["labels"] = _parse_labels(params["labels"])
        event = params.get("state_event")
        if event not in (None, "close", "reopen"):
            raise refuse_parameter("state_event does not have a valid value")
        if wanted:
            merge_requests.change_merge_request(self._state, merge_request, user, wanted)
        if event:
            merge_requests.close_merge_request(self._state, merge_request, user, closed=event == "close")
        return web.json_response(build_merge_request_details(self._state, project, merge_request))

    async def merge(self, request: web.Request) -> web.Response:
        """Merge it by a merge commit, if that may be; ``sha`` must be its head then."""
        project, merge_request, user = open_merge_request(self._state, request, "api")
        if self._state.compute_access(user, project.full_path) < DEVELOPER:
            raise refuse(401, "401 Unauthorized")
        sha = get_text(await read_params(request), "sha")
        if sha not in (None, merge_request.head):
            raise refuse(409, "SHA does not match HEAD of source branch: " + merge_request.head)
        try:
            merge_requests.accept_merge_request(self._state, merge_request, user)
        except merge_requests.RefusedMergeError as error:
            said = ("Branch cannot be merged", 422) if str(error) == "conflict" else ("405 Method Not Allowed", 405)
            raise refuse(said[1], said[0]) from error
        return web.json_response(build_merge_request_details(self._state, project, merge_request))

    async def list_commits(self, request: web.Request) -> web.Response:
        """List its commits, the latest first."""
        project, merge_request, _ = open_merge_request(self._state, request)
        found = [build_commit(self._state, project, one) for one in _list_commits(project, merge_request)]
        return build_page(request, self._state.external_url, found)

    async def get_changes(self, request: web.Request) -> web.Response:
        """Return it with what it changes; of too many files, some."""
        project, merge_request, _ = open_merge_request(self._state, request)
        about = build_merge_request_details(self._state, project, merge_request)
        changes = self._list_changes(project, merge_request)
        most = self._state.settings.diff_max_files
        return web.json_response(about | {"changes": changes[:most], "overflow": len(changes) > most})

    async def list_diffs(self, request: web.Request) -> web.Response:
        """List what it changes; of too many files, some, without saying so."""
        project, merge_request, _ = open_merge_request(self._state, request)
        changes = self._list_changes(project, merge_request)[: self._state.settings.diff_max_files]
        return build_page(request, self._state.external_url, changes)

    async def list_pipelines(self, request: web.Request) -> web.Response:
        """List the pipelines of its commits: its own, and those of the source branch."""
        project, merge_request, _ = open_merge_request(self._state, request)
        shas = {one.sha for one in _list_commits(project, merge_request)}
        source = (merge_request.source_project_id, merge_request.source_branch)
        found = [
            build_pipeline(self._state, one)
            for one in reversed(self._state.pipelines.values())
            if one.merge_request_id == merge_request.id or ((one.project_id, one.ref) == source and one.sha in shas)
        ]
        return build_page(request, self._state.external_url, found)

    async def list_versions(self, request: web.Request) -> web.Response:
        """List what it was after each push, the latest first."""
        _, merge_request, _ = open_merge_request(self._state, request)
        found = [build_version(merge_request, one) for one in reversed(merge_request.versions)]
        return build_page(request, self._state.external_url, found)

    def _list_changes(self, project: Project, merge_request: MergeRequest) -> list[dict[str, Any]]:
        changes = project.repository.list_changes(merge_request.base, merge_request.head)
        return [build_change(change) for change in changes]


def open_merge_request(state: GitLabState, request: web.Request, *scopes: str) -> tuple[Project, MergeRequest, User]:
    """Return the project and merge request of a request's path, and who asks; raises a 404 or 403 otherwise."""
    project, user = open_project(state, request, REPORTER, *scopes, jobs=request.method == "GET")
    merge_request = project.merge_requests.get(int(request.match_info["iid"]))
    if merge_request is None:
        raise refuse(404, "404 Not found")
    return project, merge_request, user


def _list_commits(project: Project, merge_request: MergeRequest) -> list[Commit]:
    return project.repository.list_commits(merge_request.head, f"^{merge_request.base}")


def _parse_labels(given: Any) -> list[str]:
    """A list, or a text with commas."""
    parts = given if isinstance(given, list) else str(given or "").split(",")
    return [str(part).strip() for part in parts if str(part).strip()]

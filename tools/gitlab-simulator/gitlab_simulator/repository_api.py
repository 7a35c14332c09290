"""Commits, branches, tags, trees and comparisons, read from the Git repository.

Source: https://docs.gitlab.com/api/commits/, https://docs.gitlab.com/api/branches/, https://docs.gitlab.com/api/tags/,
https://docs.gitlab.com/api/repositories/
"""

from __future__ import annotations

import fnmatch
from urllib.parse import unquote

from aiohttp import web

from .access import open_project, refuse, refuse_parameter
from .git.objects import Commit
from .model import REPORTER, Project
from .paging import build_page
from .params import get_flag
from .repository_views import build_branch, build_comparison, build_entry, build_tag
from .state import GitLabState
from .status_views import build_commit_details
from .views import build_commit

BASE = "/api/v4/projects/{project}/repository"
SCOPES = ("api", "read_api", "read_repository")


class RepositoryApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        router.add_get(f"{BASE}/commits", self.list_commits)
        router.add_get(f"{BASE}/commits/{{sha}}", self.get_commit)
        router.add_get(f"{BASE}/branches", self.list_branches)
        router.add_get(f"{BASE}/branches/{{branch}}", self.get_branch)
        router.add_get(f"{BASE}/tags", self.list_tags)
        router.add_get(f"{BASE}/tags/{{tag}}", self.get_tag)
        router.add_get(f"{BASE}/tree", self.list_tree)
        router.add_get(f"{BASE}/compare", self.compare)

    async def list_commits(self, request: web.Request) -> web.Response:
        """List the commits of a branch, tag or range, the latest first; of one file or folder if wanted."""
        project, _ = open_project(self._state, request, REPORTER)
        reference = request.query.get("ref_name") or project.default_branch
        old, dots, new = reference.partition("..")
        ends = [project.repository.find_commit(one) for one in ([old, new] if dots else [reference])]
        found = [one.sha for one in ends if one is not None]
        if len(found) < len(ends):
            raise refuse(404, "404 Commit Not Found")
        revisions = (f"^{found[0]}", found[1]) if dots else (found[0],)
        commits = project.repository.list_commits(*revisions, path=request.query.get("path", ""))
        return build_page(
            request, self._state.external_url, [build_commit(self._state, project, commit) for commit in commits]
        )

    async def get_commit(self, request: web.Request) -> web.Response:
        """Return a commit."""
        project, _ = open_project(self._state, request, REPORTER, jobs=True)
        commit = get_commit(project, request.match_info["sha"])
        stats = get_flag(dict(request.query), "stats", True)
        return web.json_response(build_commit_details(self._state, project, commit, stats=stats))

    async def list_branches(self, request: web.Request) -> web.Response:
        """List the branches, those only that a text is in; it may begin with ``^`` and end with ``$``."""
        project, user = open_project(self._state, request, REPORTER, *SCOPES)
        names = [one for one in sorted(project.repository.branches) if _compute_has(one, request.query.get("search"))]
        shown = [build_branch(self._state, project, user, name) for name in names]
        return build_page(request, self._state.external_url, shown)

    async def get_branch(self, request: web.Request) -> web.Response:
        """Return one."""
        project, user = open_project(self._state, request, REPORTER, *SCOPES)
        name = request.match_info["branch"]
        if name not in project.repository.branches:
            raise refuse(404, "404 Branch Not Found")
        return web.json_response(build_branch(self._state, project, user, name))

    async def list_tags(self, request: web.Request) -> web.Response:
        """List the tags, those only that a text is in."""
        project, _ = open_project(self._state, request, REPORTER, *SCOPES)
        tags = [one for one in project.repository.list_tags() if _compute_has(one.name, request.query.get("search"))]
        return build_page(request, self._state.external_url, [build_tag(self._state, project, tag) for tag in tags])

    async def get_tag(self, request: web.Request) -> web.Response:
        """Return one."""
        project, _ = open_project(self._state, request, REPORTER, *SCOPES)
        tag = project.repository.find_tag(request.match_info["tag"])
        if tag is None:
            raise refuse(404, "404 Tag Not Found")
        return web.json_response(build_tag(self._state, project, tag))

    async def list_tree(self, request: web.Request) -> web.Response:
        """List a folder at a commit: folders, then files, then submodules."""
        project, _ = open_project(self._state, request, REPORTER, *SCOPES)
        commit = project.repository.find_commit(request.query.get("ref") or "HEAD")
        path = request.query.get("path", "").strip("/")
        if commit is None:
            raise refuse(404, "404 Tree Not Found")
        recursive = get_flag(dict(request.query), "recursive")
        entries = project.repository.list_tree(commit.sha, path, recursive=recursive)
        if not entries and path:
            raise refuse(404, "404 invalid revision or path Not Found")
        order = ("tree", "blob", "commit")
        shown = [build_entry(one) for one in sorted(entries, key=lambda one: order.index(one.kind))]
        return build_page(request, self._state.external_url, shown)

    async def compare(self, request: web.Request) -> web.Response:
        """Return what is in one commit and not in another; from where they part, unless ``straight`` is wanted."""
        project, _ = open_project(self._state, request, REPORTER, *SCOPES)
        for name in ("from", "to"):
            if name not in request.query:
                raise refuse_parameter(f"{name} is missing")
        ends = [project.repository.find_commit(request.query[name]) for name in ("from", "to")]
        if ends[0] is None or ends[1] is None:
            raise refuse(404, "404 Ref Not Found")
        straight = get_flag(dict(request.query), "straight")
        return web.json_response(build_comparison(self._state, project, ends[0], ends[1], straight=straight))


def get_commit(project: Project, reference: str) -> Commit:
    """Raises a 404: there is no such commit, branch or tag."""
    commit = project.repository.find_commit(unquote(reference))
    if commit is None:
        raise refuse(404, "404 Commit Not Found")
    return commit


def _compute_has(name: str, search: str | None) -> bool:
    if not search:
        return True
    begin = "" if search.startswith("^") else "*"
    end = "" if search.endswith("$") else "*"
    wanted = search.removeprefix("^").removesuffix("$").lower().replace("[", "[[]").replace("?", "[?]")
    return fnmatch.fnmatchcase(name.lower(), begin + wanted + end)

"""Users, the members of projects and groups, and forks.

Source: https://docs.gitlab.com/api/users/, https://docs.gitlab.com/api/members/, https://docs.gitlab.com/api/project_forks/
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from aiohttp import web

from .access import authorize, open_project, refuse
from .clock import build_time
from .forks import fork_project
from .matching import compute_is_below
from .model import GUEST, OWNER, REPORTER, User
from .paging import build_page
from .params import get_text, read_params
from .state import GitLabState
from .views import build_project, build_user

BASE = "/api/v4"


class MembersApi:
    """Routes that take an access token."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        router.add_get(f"{BASE}/users", self.list_users)
        router.add_get(rf"{BASE}/users/{{user:\d+}}", self.get_user)
        for owner in ("projects/{project}", "groups/{group}"):
            for members in ("members", "members/all"):
                router.add_get(f"{BASE}/{owner}/{members}", self.list_members)
                router.add_get(rf"{BASE}/{owner}/{members}/{{user:\d+}}", self.get_member)
        router.add_post(f"{BASE}/projects/{{project}}/fork", self.fork)
        router.add_get(f"{BASE}/projects/{{project}}/forks", self.list_forks)

    async def list_users(self, request: web.Request) -> web.Response:
        """List users, the one of a name only if wanted."""
        authorize(self._state, request, "api", "read_api", "read_user")
        wanted = request.query.get("username")
        users = [one for one in self._state.users.values() if wanted is None or one.username == wanted]
        return build_page(request, self._state.external_url, [self._build_user(one) for one in users])

    async def get_user(self, request: web.Request) -> web.Response:
        """Return one."""
        authorize(self._state, request, "api", "read_api", "read_user")
        user = self._state.users.get(int(request.match_info["user"]))
        if user is None:
            raise refuse(404, "404 User Not Found")
        return web.json_response(self._build_user(user))

    async def list_members(self, request: web.Request) -> web.Response:
        """List the members, with those of the groups above for ``all``."""
        path, inherited = self._open(request)
        levels = ((user, self._find_level(user, path, inherited=inherited)) for user in self._state.users.values())
        found = [self._build_member(user, level) for user, level in levels if level]
        return build_page(request, self._state.external_url, found)

    async def get_member(self, request: web.Request) -> web.Response:
        """Return one, who may be one of a group above for ``all``."""
        path, inherited = self._open(request)
        user = self._state.users.get(int(request.match_info["user"]))
        level = self._find_level(user, path, inherited=inherited) if user else 0
        if user is None or not level:
            raise refuse(404, "404 Not found")
        return web.json_response(self._build_member(user, level))

    async def fork(self, request: web.Request) -> web.Response:
        """Fork a project into the namespace of the user, or another one."""
        origin, user = open_project(self._state, request, REPORTER, "api")
        params = await read_params(request)
        namespace = get_text(params, "namespace_path") or user.username
        path = f"{namespace}/{get_text(params, 'path') or origin.full_path.rpartition('/')[2]}"
        if namespace != user.username and self._state.compute_access(user, path) < OWNER:
            raise refuse(404, "404 Target Namespace Not Found")
        if self._state.find_project(path) is not None:
            raise refuse(409, {"name": ["has already been taken"], "path": ["has already been taken"]})
        user.access.setdefault(namespace, OWNER)
        return web.json_response(build_project(self._state, fork_project(self._state, origin, path)), status=201)

    async def list_forks(self, request: web.Request) -> web.Response:
        """List those that the user may see."""
        origin, user = open_project(self._state, request, REPORTER)
        found = [
            build_project(self._state, one)
            for one in self._state.projects.values()
            if one.forked_from == origin.id and self._state.compute_access(user, one.full_path)
        ]
        return build_page(request, self._state.external_url, found)

    def _open(self, request: web.Request) -> tuple[str, bool]:
        """Return whose members are wanted, by full path, and whether with those of the groups above."""
        inherited = "/members/all" in request.path
        if "project" in request.match_info:
            return open_project(self._state, request, GUEST)[0].full_path, inherited
        user = authorize(self._state, request)
        group = self._state.find_group(unquote(request.match_info["group"]))
        if group is None or not self._state.compute_access(user, group.full_path):
            raise refuse(404, "404 Group Not Found")
        return group.full_path, inherited

    def _find_level(self, user: User, path: str, *, inherited: bool) -> int:
        """Return the highest access level, 0 for one who is no member. Administrators are none by that alone."""
        levels = (
            level for at, level in user.access.items() if at == path or (inherited and compute_is_below(path, at))
        )
        return max(levels, default=0)

    def _build_user(self, user: User) -> dict[str, Any]:
        return build_user(self._state, user.id) or {}

    def _build_member(self, user: User, level: int) -> dict[str, Any]:
        about = {"access_level": level, "expires_at": None, "membership_state": "active"}
        return self._build_user(user) | about | {"created_at": build_time(0)}

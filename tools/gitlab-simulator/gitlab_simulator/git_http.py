"""Git over HTTP: clone, fetch and push with an access token or a job's token as the password.

Source: https://docs.gitlab.com/topics/git/clone/#clone-with-https,
https://docs.gitlab.com/ci/jobs/ci_job_token/#to-git-clone-a-private-projects-repository, lib/gitlab/git_access.rb
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import BasicAuth, web

from .git.backend import BackendRequest, run_backend
from .git.pktlines import PushRequest, parse_push
from .merge_requests import land_push
from .model import DEVELOPER, REPORTER, Project, User
from .pushes import Push, compute_changes, find_refusal, list_kept, parse_push_options
from .state import GitLabState

PULL_SCOPES = frozenset({"api", "read_repository", "write_repository"})
PUSH_SCOPES = frozenset({"api", "write_repository"})
JOB_USER = "gitlab-ci-token"
PUSH, PULL = "git-receive-pack", "git-upload-pack"
DENIED = (
    "HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or "
    "you're required to use a token instead of a password."
)


@dataclass(frozen=True)
class _Caller:
    user: User
    scopes: frozenset[str]


ANYONE = _Caller(User(0, "anyone"), frozenset())
"""Who fetches from a public project without a login: https://docs.gitlab.com/user/public_access/"""


class GitHttp:
    """The routes of repositories, which end in ``.git``."""

    def __init__(self, state: GitLabState) -> None:
        self._state = state
        self._pushing: dict[int, asyncio.Lock] = {}
        """By project: pushes come one after the other."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        router.add_get(r"/{project:.+?}.git/info/refs", self.list_refs)
        router.add_post(r"/{project:.+?}.git/git-upload-pack", self.fetch)
        router.add_post(r"/{project:.+?}.git/git-receive-pack", self.push)

    async def list_refs(self, request: web.Request) -> web.Response:
        """Return the refs to one who wants to fetch or push."""
        service = request.query.get("service", "")
        if service not in (PUSH, PULL):
            raise web.HTTPForbidden(text="Git clients without the smart protocol are not served")
        project, caller = self._open(request, service)
        return await self._run(request, project, caller, {})

    async def fetch(self, request: web.Request) -> web.Response:
        """Send what is wanted."""
        project, caller = self._open(request, PULL)
        return await self._run(request, project, caller, {})

    async def push(self, request: web.Request) -> web.Response:
        """Take what is sent, if the user may push all of it, and tell what has changed."""
        project, caller = self._open(request, PUSH)
        try:
            wanted = parse_push(await request.read())
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        async with self._pushing.setdefault(project.id, asyncio.Lock()):
            before = project.repository.refs
            checks = self._build_checks(project, caller, wanted)
            answer = await self._run(request, project, caller, checks)
            project.repository.reload()
            asked = {one.ref for one in wanted.commands}
            changes = tuple(one for one in compute_changes(before, project.repository.refs) if one.ref in asked)
        if changes:
            push = Push(project, caller.user.id, changes, parse_push_options(wanted.options))
            land_push(self._state, push)
        return answer

    def _build_checks(self, project: Project, caller: _Caller, wanted: PushRequest) -> dict[str, str]:
        """What the hook of the repository must know."""
        access = self._state.compute_access(caller.user, project.full_path)
        refusal = find_refusal(project, access, wanted.commands)
        return {"GITLAB_REFUSAL": refusal or "", "GITLAB_PROTECTED": " ".join(list_kept(project, wanted.commands))}

    async def _run(
        self, request: web.Request, project: Project, caller: _Caller, checks: dict[str, str]
    ) -> web.Response:
        _, _, below = request.path.partition(".git/")
        asked = BackendRequest(
            request.method, f"/{below}", request.query_string, request.headers.get("Content-Type", ""),
            request.headers.get("Git-Protocol", ""), caller.user.username, await request.read(),
        )  # fmt: skip
        answer = await run_backend(project.repository.folder, asked, checks)
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    def _open(self, request: web.Request, service: str) -> tuple[Project, _Caller]:
        """Return the project, and who asks; raises a 401, 403 or 404 otherwise."""
        project = self._state.find_project(request.match_info["project"])
        if service == PULL and "Authorization" not in request.headers and project and project.visibility == "public":
            return project, ANYONE
        caller = self._find_caller(request)
        if caller is None:
            raise web.HTTPUnauthorized(text=f"{DENIED}\n", headers={"WWW-Authenticate": 'Basic realm="GitLab"'})
        access = self._state.compute_access(caller.user, project.full_path) if project else 0
        if project is None or not access:
            raise web.HTTPNotFound(text="The project you were looking for could not be found or you don't have "
                                        "permission to view it.\n")  # fmt: skip
        if access < REPORTER or not caller.scopes & PULL_SCOPES:
            raise web.HTTPForbidden(text="You are not allowed to download code from this project.\n")
        if service == PUSH and (access < DEVELOPER or not caller.scopes & PUSH_SCOPES):
            raise web.HTTPForbidden(text="You are not allowed to push code to this project.\n")
        return project, caller

    def _find_caller(self, request: web.Request) -> _Caller | None:
        try:
            given = BasicAuth.decode(request.headers.get("Authorization", ""))
        except ValueError:
            return None
        now = self._state.clock.now()
        if given.login == JOB_USER:
            return self._find_job_caller(given.password)
        token = self._state.find_token(given.password)
        if token is None or token.revoked or (token.expires_at is not None and token.expires_at <= now):
            return None
        token.last_used_at = now
        return _Caller(self._state.users[token.user_id], token.scopes)

    def _find_job_caller(self, password: str) -> _Caller | None:
        """The token of a job that runs: it may fetch what the user who started the job may."""
        job = self._state.find_running_job(password)
        if job is None:
            return None
        user = self._state.users.get(self._state.get_job_user_id(job) or 0)
        return _Caller(user, frozenset({"read_repository"})) if user else None

"""The real door to GitLab, by python-gitlab in threads; each call is one or a few requests, and none is repeated here.

What to do about a failure is for the caller: python-gitlab's own retries are off.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import gitlab
import requests
from gitlab.exceptions import GitlabError, GitlabHttpError, GitlabParsingError

from bessemer.gitlab.jobs import parse_graphql_job, parse_rest_job
from bessemer.gitlab.limits import parse_wait
from bessemer.gitlab.protocol import (
    GitLab,
    GitLabNotFound,
    GitLabRefused,
    GitLabRejected,
    GitLabUnavailable,
    Identity,
    PendingJob,
    PendingJobs,
    RateLimited,
    Registration,
    RunnerRequest,
    Scope,
    ScopeType,
)

REQUEST_SECONDS = 20.0
"""GitLab answers a page of jobs within a second; longer than this, and the next poll is the better try."""
MAX_PAGES = 20
PAGE_SIZE = 100
"""The most that GitLab gives. Source: https://docs.gitlab.com/api/rest/#pagination"""
AT_ONCE = 8
"""Requests under way side by side."""
VERIFIER = "r_bessemer0000"
"""system_id under which a runner's token is verified."""
_T = TypeVar("_T")
_TYPES = {ScopeType.INSTANCE: "instance_type", ScopeType.GROUP: "group_type", ScopeType.PROJECT: "project_type"}
_INSTANCE_JOBS = """query($after: String) { jobs(statuses: [PENDING], first: 100, after: $after) {
  pageInfo { hasNextPage endCursor } nodes { id name tags refName createdByTag queuedAt project { fullPath } } } }"""
_GROUP_JOBS = """query($path: ID!, $after: String) { group(fullPath: $path) {
  projects(includeSubgroups: true, first: 50, after: $after) { pageInfo { hasNextPage endCursor }
    nodes { fullPath jobs(statuses: [PENDING], first: 100) {
      nodes { id name tags refName createdByTag queuedAt } } } } } }"""


def connect_gitlab(url: str, token: str | None, ca: str | None) -> GitLab:
    """Open the door; nothing is sent yet."""
    return GitLabClient(url, token, ca)


class GitLabClient:
    """One GitLab, with one access token or none."""

    def __init__(self, url: str, token: str | None, ca: str | None) -> None:
        self._ca_file: Path | None = None
        if ca is not None:
            with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
                file.write(ca)
            self._ca_file = Path(file.name)
        options: dict[str, Any] = {
            "timeout": REQUEST_SECONDS,
            "ssl_verify": str(self._ca_file) if self._ca_file else True,
            "retry_transient_errors": False,
        }
        self._api = gitlab.Gitlab(url, private_token=token, **options)
        self._runner_api = gitlab.Gitlab(url, **options)
        for api in (self._api, self._runner_api):
            api.session.hooks["response"].append(_raise_when_asked_to_wait)
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def list_pending_jobs(self, scope: Scope, *, with_protected: bool = False) -> PendingJobs:
        """List jobs that wait."""
        if scope.type is ScopeType.PROJECT:
            return await self._run(lambda: self._list_project_jobs(scope.path, with_protected=with_protected), scope)
        return await self._run(lambda: self._list_jobs_by_graphql(scope, with_protected=with_protected), scope)

    async def create_runner(self, request: RunnerRequest) -> Registration:
        """Create a runner."""
        return await self._run(lambda: self._create_runner(request), request.scope)

    async def list_runners(self, scope: Scope, marker: str) -> list[int]:
        """List the runners of a scope that bear the marker."""
        path = {
            ScopeType.INSTANCE: "/runners/all",
            ScopeType.GROUP: f"/groups/{quote(scope.path, safe='')}/runners",
            ScopeType.PROJECT: f"/projects/{quote(scope.path, safe='')}/runners",
        }[scope.type]
        query = {"type": _TYPES[scope.type]}

        def read() -> list[int]:
            runners, _ = self._list_pages(path, query)
            return [int(runner["id"]) for runner in runners if marker in (runner.get("description") or "")]

        return await self._run(read, scope)

    async def update_runner(self, runner_id: int, request: RunnerRequest) -> None:
        """Make a runner as requested."""
        await self._run(lambda: self._api.http_put(f"/runners/{runner_id}", post_data=_build_fields(request)))

    async def rotate_runner(self, runner_id: int) -> Registration:
        """Replace a runner's token."""
        path = f"/runners/{runner_id}/reset_authentication_token"

        def rotate() -> Registration:
            raw: Any = self._api.http_post(path)
            return Registration(runner_id, raw["token"], _parse_time(raw.get("token_expires_at")))

        return await self._run(rotate)

    async def delete_runner(self, runner_id: int) -> None:
        """Delete a runner; one that is gone already is fine."""
        try:
            await self._run(lambda: self._api.http_delete(f"/runners/{runner_id}"))
        except GitLabNotFound:
            return

    async def verify_runner(self, runner_token: str) -> Identity | None:
        """Ask whose runner token that is; None where GitLab refuses it."""
        # GitLab takes down a manager for whoever asks; one of that name is taken away again.
        data = {"token": runner_token, "system_id": VERIFIER}

        def verify() -> Identity:
            raw: Any = self._runner_api.http_post("/runners/verify", post_data=data)
            return Identity(int(raw["id"]), _parse_time(raw.get("token_expires_at")))

        try:
            identity = await self._run(verify)
        except (GitLabRefused, GitLabRejected):
            return None
        await self.delete_manager(runner_token, VERIFIER)
        return identity

    async def delete_manager(self, runner_token: str, system_id: str) -> None:
        """Delete a manager; one that is gone already is fine."""
        data = {"token": runner_token, "system_id": system_id}
        try:
            # http_delete() would send the data as a query, where a token must not stand.
            await self._run(lambda: self._runner_api.http_request("delete", "/runners/managers", post_data=data))
        except (GitLabNotFound, GitLabRejected):
            return

    async def close(self) -> None:
        """Give connections and files back."""
        self._api.session.close()
        self._runner_api.session.close()
        if self._ca_file is not None:
            self._ca_file.unlink(missing_ok=True)

    async def _run(self, call: Callable[[], _T], scope: Scope | None = None) -> _T:
        """Call in a thread, and translate what goes wrong; where there is a scope, it is what may not be found."""
        async with self._gate:
            try:
                with _translated():
                    return await asyncio.to_thread(call)
            except GitLabNotFound as error:
                if scope is None:
                    raise
                raise GitLabNotFound(f"{scope} is not there, or the access token may not see it") from error

    def _list_project_jobs(self, project: str, *, with_protected: bool) -> PendingJobs:
        base = f"/projects/{quote(project, safe='')}"
        raw, complete = self._list_pages(f"{base}/jobs", {"scope[]": "pending"})
        jobs = [parse_rest_job(job, project) for job in raw]
        if with_protected:
            jobs = self._add_protected(jobs)
        return PendingJobs(tuple(jobs), complete)

    def _add_protected(self, jobs: list[PendingJob]) -> list[PendingJob]:
        """Look up which refs are protected, in each project that has jobs."""
        rules = {}
        for project in {job.project for job in jobs}:
            base = f"/projects/{quote(project, safe='')}"
            for by_tag, kind in ((False, "branches"), (True, "tags")):
                found, _ = self._list_pages(f"{base}/protected_{kind}", {})
                rules[project, by_tag] = [entry["name"] for entry in found]
        return [replace(job, protected=_matches(job.ref, rules[job.project, job.by_tag])) for job in jobs]

    def _list_pages(self, path: str, query: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
        found: list[dict[str, Any]] = []
        for page in range(1, MAX_PAGES + 1):
            options = {**query, "page": page, "per_page": PAGE_SIZE}
            raw: Any = self._api.http_list(path, query_data=options, get_all=False)
            found += raw
            if len(raw) < PAGE_SIZE:
                return found, True
        return found, False

    def _list_jobs_by_graphql(self, scope: Scope, *, with_protected: bool) -> PendingJobs:
        jobs: list[PendingJob] = []
        after: str | None = None
        complete = False
        for _ in range(MAX_PAGES):
            page = self._query(scope, after)
            nodes = page["nodes"]
            if scope.type is ScopeType.INSTANCE:
                jobs += [parse_graphql_job(node, node["project"]["fullPath"]) for node in nodes]
            else:
                jobs += [parse_graphql_job(job, node["fullPath"]) for node in nodes for job in node["jobs"]["nodes"]]
            complete = not page["pageInfo"]["hasNextPage"]
            if complete:
                break
            after = page["pageInfo"]["endCursor"]
        return PendingJobs(tuple(self._add_protected(jobs) if with_protected else jobs), complete)

    def _query(self, scope: Scope, after: str | None) -> dict[str, Any]:
        whole = scope.type is ScopeType.INSTANCE
        body = {
            "query": _INSTANCE_JOBS if whole else _GROUP_JOBS,
            "variables": {"after": after, **({} if whole else {"path": scope.path})},
        }
        url = f"{self._api.url}/api/graphql"
        answer: Any = self._api.http_post(url, post_data=body)
        if answer.get("errors"):
            raise GitLabRejected("; ".join(str(error.get("message")) for error in answer["errors"])[:1024])
        data = answer["data"]
        if whole:
            page: dict[str, Any] = data["jobs"]
            return page
        if data["group"] is None:
            raise GitLabNotFound(f"group {scope.path} is null")
        projects: dict[str, Any] = data["group"]["projects"]
        return projects

    def _create_runner(self, request: RunnerRequest) -> Registration:
        fields = _build_fields(request) | {"runner_type": _TYPES[request.scope.type]}
        if request.scope.type is not ScopeType.INSTANCE:
            kind = "group" if request.scope.type is ScopeType.GROUP else "project"
            owner: Any = self._api.http_get(f"/{kind}s/{quote(request.scope.path, safe='')}")
            fields[f"{kind}_id"] = owner["id"]
        raw: Any = self._api.http_post("/user/runners", post_data=fields)
        return Registration(int(raw["id"]), raw["token"], _parse_time(raw.get("token_expires_at")))


def _build_fields(request: RunnerRequest) -> dict[str, Any]:
    fields = {
        "description": f"{request.description} ({request.marker})",
        "tag_list": sorted(request.tags),
        "run_untagged": request.run_untagged,
        "access_level": "ref_protected" if request.protected else "not_protected",
        "locked": request.locked,
        "paused": request.paused,
    }
    return fields | ({"maximum_timeout": request.maximum_timeout} if request.maximum_timeout else {})


def _matches(ref: str, rules: list[str]) -> bool:
    """Tell whether a rule is for the ref; ``*`` alone stands for any text.

    Source: https://docs.gitlab.com/user/project/repository/branches/protected/#use-wildcard-rules
    """
    return any(re.fullmatch(".*".join(map(re.escape, rule.split("*"))), ref, re.DOTALL) for rule in rules)


def _raise_when_asked_to_wait(response: requests.Response, *_: Any, **__: Any) -> None:
    """Leave python-gitlab's own waiting out, and keep what GitLab says of when to come again."""
    if response.status_code not in (429, 503):
        return
    # requests calls hooks before it reads the body: a connection left in the middle of an answer is never closed.
    response.close()
    wait = parse_wait(response.headers)
    if response.status_code == 429:
        raise RateLimited("GitLab has had too many requests", wait)
    raise GitLabUnavailable("503: GitLab is overloaded, or closed for maintenance", wait)


def _parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@contextmanager
def _translated() -> Iterator[None]:
    """Turn python-gitlab's errors into ours; what the token is stands in none of them."""
    try:
        yield
    except GitlabHttpError as error:
        raise _translate(error.response_code or 0, str(error.error_message)[:512]) from error
    except GitlabParsingError as error:
        raise GitLabUnavailable("the answer makes no sense: is the URL that of GitLab itself?") from error
    except GitlabError as error:
        raise _translate(error.response_code or 0, str(error.error_message)[:512]) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # Its text may be a piece of the answer, and so a token.
        raise GitLabUnavailable(f"the answer is not of the documented form ({type(error).__name__})") from error
    except requests.RequestException as error:
        raise GitLabUnavailable(_explain(error)) from error


def _explain(error: requests.RequestException) -> str:
    """Say what went wrong below HTTP, without the objects of the libraries in between."""
    inner = error.args[0] if error.args else error
    cause = str(getattr(inner, "reason", None) or inner or type(error).__name__)
    return "no answer: " + re.sub(r"^HTTPS?Connection(Pool)?\(.*?\): ", "", cause)[:512]


def _translate(status: int, message: str) -> Exception:
    message = f"{status} {message.removeprefix(f'{status} ')}"
    if status == 401:
        return GitLabRefused(f"GitLab does not know the token: {message}")
    if status == 403:
        return GitLabRefused(f"the token may not do that: {message}")
    if status == 404:
        return GitLabNotFound(message)
    if status in (400, 409, 422):
        return GitLabRejected(message)
    return GitLabUnavailable(message)

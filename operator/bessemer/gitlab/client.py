"""The real door to GitLab, by python-gitlab in threads; each call is one or a few requests, and none is repeated here.

What to do about a failure is for the caller: python-gitlab's own retries are off.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import gitlab

from bessemer.gitlab.failures import raise_when_asked_to_wait, translated
from bessemer.gitlab.pages import list_pages
from bessemer.gitlab.pending import PendingReader
from bessemer.gitlab.protocol import (
    GitLab,
    GitLabNotFound,
    GitLabRefused,
    GitLabRejected,
    GitLabUnavailable,
    Identity,
    PendingJobs,
    Registration,
    RunnerRequest,
    Scope,
    ScopeType,
)

REQUEST_SECONDS = 20.0
"""GitLab answers a page of jobs within a second; longer than this, and the next poll is the better try."""
CALL_SECONDS = 120.0
"""For all requests of one call together: a list of many pages, or an answer that comes in drips."""
AT_ONCE = 8
"""Requests under way side by side."""
VERIFIER = "r_bessemer0000"
"""system_id under which a runner's token is verified."""
_T = TypeVar("_T")
_TYPES = {ScopeType.INSTANCE: "instance_type", ScopeType.GROUP: "group_type", ScopeType.PROJECT: "project_type"}


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
            api.session.hooks["response"].append(raise_when_asked_to_wait)
        self._pending = PendingReader(self._api)
        # Threads of its own: a GitLab that hangs must not keep those of others waiting.
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gitlab")

    async def list_pending_jobs(self, scope: Scope, *, with_protected: bool = False) -> PendingJobs:
        """List jobs that wait."""
        return await self._run(lambda: self._pending.list_jobs(scope, with_protected=with_protected), scope)

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
            runners, _ = list_pages(self._api, path, query)
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
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._api.session.close()
        self._runner_api.session.close()
        if self._ca_file is not None:
            self._ca_file.unlink(missing_ok=True)

    async def _run(self, call: Callable[[], _T], scope: Scope | None = None) -> _T:
        """Call in a thread, and translate what goes wrong; where there is a scope, it is what may not be found."""
        loop = asyncio.get_running_loop()
        try:
            with translated():
                async with asyncio.timeout(CALL_SECONDS):
                    return await loop.run_in_executor(self._threads, call)
        except TimeoutError as error:
            raise GitLabUnavailable(f"no whole answer within {CALL_SECONDS:g} s") from error
        except GitLabNotFound as error:
            if scope is None:
                raise
            raise GitLabNotFound(f"{scope} is not there, or the access token may not see it") from error

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


def _parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

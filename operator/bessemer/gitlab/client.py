"""The real client of GitLab: each call is one or a few requests, and none is repeated here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from bessemer.foreign import Unreadable, parse_int, parse_time
from bessemer.gitlab.address import check_host, parse_address
from bessemer.gitlab.answers import LargeAnswers
from bessemer.gitlab.credentials import build_context, check_token, is_token
from bessemer.gitlab.failures import NOT_GITLAB, explain_unreadable, is_token_refusal
from bessemer.gitlab.jobs import parse_object
from bessemer.gitlab.pages import Effort, iterate_pages
from bessemer.gitlab.pending import PendingReader
from bessemer.gitlab.protocol import (
    GitLab,
    GitLabNotFound,
    GitLabRefused,
    GitLabRejected,
    GitLabUnavailable,
    Identity,
    PendingJobs,
    ProjectRef,
    Registration,
    RunnerRequest,
    Scope,
    ScopeType,
)
from bessemer.gitlab.transport import Transport

CALL_SECONDS = 120.0
"""For all requests of one call together, such as a list of many pages."""
VERIFIER = "r_bessemer0000"
"""system_id under which a runner's token is verified."""
TOKEN_CHARACTERS = 1024
_T = TypeVar("_T")
_TYPES = {ScopeType.INSTANCE: "instance_type", ScopeType.GROUP: "group_type", ScopeType.PROJECT: "project_type"}


@dataclass(frozen=True)
class GitLabConnector:
    """Opens clients of GitLabs; all of them share its bounds, and go only to hosts that are allowed."""

    allowed_hosts: frozenset[str] = frozenset()
    """Empty: all."""
    large: LargeAnswers = field(default_factory=LargeAnswers)

    def connect(self, url: str, token: str | None, ca: str | None) -> GitLab:
        """Open a client; nothing is sent yet. Raises Invalid for a URL, token or bundle that can't be used, and
        HostNotAllowed.
        """
        return GitLabClient(self.open_transport(url, token, ca))

    def open_transport(self, url: str, token: str | None, ca: str | None) -> Transport:
        """Open the way out to a GitLab for any client; raises the same errors."""
        address = parse_address(url)
        check_host(address, self.allowed_hosts)
        if token is not None:
            check_token(token, "the Secret of spec.gitlab.apiTokenSecret")
        return Transport(address, token, build_context(ca), self.large)


def connect_gitlab(url: str, token: str | None, ca: str | None) -> GitLab:
    """Open a client that shares nothing with others, for a GitLab on any host."""
    return GitLabConnector().connect(url, token, ca)


class GitLabClient:
    """One GitLab, with one access token or none."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._pending = PendingReader(transport)

    async def list_pending_jobs(
        self, scope: Scope, *, with_protected: bool = False, hints: Collection[ProjectRef] = ()
    ) -> PendingJobs:
        """List jobs that wait."""
        return await run_call(self._pending.list_jobs(scope, with_protected=with_protected, hints=hints), scope)

    async def create_runner(self, request: RunnerRequest) -> Registration:
        """Create a runner."""
        return await run_call(self._create_runner(request), request.scope)

    async def list_runners(self, scope: Scope, marker: str) -> list[int]:
        """List the runners of a scope that have the marker; raises GitLabUnavailable if not all could be checked."""
        return await run_call(self._list_runners(scope, marker), scope)

    async def update_runner(self, runner_id: int, request: RunnerRequest) -> None:
        """Make a runner as requested."""
        await run_call(self._ask("PUT", f"/runners/{runner_id}", _build_fields(request)))

    async def rotate_runner(self, runner_id: int) -> Registration:
        """Replace a runner's token."""

        async def rotate() -> Registration:
            raw = parse_object(await self._ask("POST", f"/runners/{runner_id}/reset_authentication_token"))
            return Registration(runner_id, _parse_token(raw), _parse_expiry(raw.get("token_expires_at")))

        return await run_call(rotate())

    async def delete_runner(self, runner_id: int) -> None:
        """Delete a runner; one that is gone already is fine."""
        try:
            await run_call(self._delete(f"/runners/{runner_id}"))
        except GitLabNotFound:
            return

    async def verify_runner(self, runner_token: str) -> Identity | None:
        """Ask whose runner token that is; None where GitLab itself refuses it."""
        check_token(runner_token, "the Secret of the runner's token")
        identity = await run_call(self._verify(runner_token))
        if identity is not None:
            await self.delete_manager(runner_token, VERIFIER)
        return identity

    async def delete_manager(self, runner_token: str, system_id: str) -> None:
        """Delete a manager; one that is gone already is fine."""
        data = {"token": runner_token, "system_id": system_id}
        try:
            await run_call(self._delete("/runners/managers", data, private=False))
        except (GitLabNotFound, GitLabRejected):
            return

    async def get_expiry(self) -> datetime | None:
        """Return when the access token ends, where GitLab says so."""
        return await run_call(read_expiry(self._transport))

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def _create_runner(self, request: RunnerRequest) -> Registration:
        fields = _build_fields(request) | {"runner_type": _TYPES[request.scope.type]}
        if request.scope.type is not ScopeType.INSTANCE:
            kind = request.scope.type.value.lower()
            owner = parse_object(await self._ask("GET", f"/{kind}s/{quote(request.scope.path, safe='')}"))
            fields[f"{kind}_id"] = parse_int(owner.get("id"))
        raw = parse_object(await self._ask("POST", "/user/runners", fields))
        return Registration(parse_int(raw.get("id")), _parse_token(raw), _parse_expiry(raw.get("token_expires_at")))

    async def _list_runners(self, scope: Scope, marker: str) -> list[int]:
        path = {
            ScopeType.INSTANCE: "/runners/all",
            ScopeType.GROUP: f"/groups/{quote(scope.path, safe='')}/runners",
            ScopeType.PROJECT: f"/projects/{quote(scope.path, safe='')}/runners",
        }[scope.type]
        found: list[int] = []
        async for page, last in iterate_pages(self._transport, path, {"type": _TYPES[scope.type]}, Effort()):
            runners = map(parse_object, page)
            found += [parse_int(one.get("id")) for one in runners if marker in str(one.get("description") or "")]
            if last:
                return found
        if found:
            return found
        raise GitLabUnavailable(f"{scope} has more runners than are listed, and none of those is the pool's")

    async def _verify(self, runner_token: str) -> Identity | None:
        # GitLab creates a runner manager for each client that verifies a token; it is deleted again by its system_id.
        data = {"token": runner_token, "system_id": VERIFIER}
        answer = await self._transport.fetch("POST", "/runners/verify", body=data, private=False)
        if is_token_refusal(answer.status, answer.data):
            return None
        try:
            raw = parse_object(answer.get_data())
        except (GitLabNotFound, GitLabRefused, GitLabRejected) as error:
            text = f"{answer.status} to the question whose runner's token that is, {NOT_GITLAB}"
            raise GitLabUnavailable(text) from error
        return Identity(parse_int(raw.get("id")), _parse_expiry(raw.get("token_expires_at")))

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return (await self._transport.fetch(method, path, body=body)).get_data()

    async def _delete(self, path: str, body: Any = None, *, private: bool = True) -> None:
        (await self._transport.fetch("DELETE", path, body=body, private=private)).get_data()


async def run_call(call: Awaitable[_T], scope: Scope | None = None) -> _T:
    """Bound the time of a call, and say what of its answers can't be read; a scope is what may not be found."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await call
    except TimeoutError as error:
        raise GitLabUnavailable(f"no whole answer within {CALL_SECONDS:g} s") from error
    except Unreadable as error:
        raise explain_unreadable(error) from error
    except GitLabNotFound as error:
        if scope is None:
            raise
        raise GitLabNotFound(f"{scope} is not there, or the access token may not see it") from error


async def read_expiry(transport: Transport) -> datetime | None:
    """Return when the access token ends; None where it does not, or where GitLab does not say.

    Source: https://docs.gitlab.com/api/personal_access_tokens/#self-inform, also for tokens of projects and groups
    """
    try:
        raw = parse_object((await transport.fetch("GET", "/personal_access_tokens/self")).get_data())
        date = raw.get("expires_at")
        return None if date is None else parse_time(f"{date}T00:00:00Z" if len(str(date)) == 10 else date)
    except (GitLabNotFound, GitLabRejected, Unreadable):
        return None  # an OAuth token, say


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


def _parse_token(raw: dict[str, Any]) -> str:
    token = raw.get("token")
    if isinstance(token, str) and len(token) <= TOKEN_CHARACTERS and is_token(token):
        return token
    raise Unreadable("no token where there should be one")


def _parse_expiry(raw: object) -> datetime | None:
    return None if raw is None else parse_time(raw)

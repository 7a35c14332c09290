"""What answers at GitLab's URL may be anything: the client says so, and raises nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bessemer.gitlab.client import GitLabConnector, connect_gitlab
from bessemer.gitlab.protocol import GitLab, GitLabUnavailable, RunnerRequest, Scope, ScopeType
from bessemer.gitlab.repository import RepositoryClient

PROJECT, GROUP, INSTANCE = Scope(ScopeType.PROJECT, "a/b"), Scope(ScopeType.GROUP, "a"), Scope(ScopeType.INSTANCE)
REQUEST = RunnerRequest(PROJECT, "pool", "marker", frozenset({"hpc"}), run_untagged=False, protected=False)
Ask = Callable[[GitLab], Coroutine[Any, Any, object]]


@pytest.fixture
async def answer() -> AsyncIterator[list[object]]:
    """The body of every answer, in a list; the server's URL comes after it."""
    bodies: list[object] = [None]

    async def give(_request: web.Request) -> web.Response:
        return web.Response(text=json.dumps(bodies[0]), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", give)
    async with TestServer(app) as server:
        bodies.append(str(server.make_url("")).rstrip("/"))
        yield bodies


def asking(call: str, *arguments: object) -> Ask:
    return lambda client: getattr(client, call)(*arguments)


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {"jobs": None, "group": {}}}, [{}], [None], "no", 7])
@pytest.mark.parametrize(
    "ask",
    [
        *(asking("list_pending_jobs", scope) for scope in (PROJECT, GROUP, INSTANCE)),
        asking("rotate_runner", 3),
        asking("create_runner", REQUEST),
        asking("verify_runner", "glrt-secret"),
    ],
    ids=["project", "group", "instance", "rotate", "create", "verify"],
)
async def test_an_answer_of_another_form_is_said(answer: list[object], ask: Ask, body: object) -> None:
    answer[0] = body
    client = connect_gitlab(str(answer[1]), "glpat-secret", None)
    try:
        with pytest.raises(GitLabUnavailable):
            await ask(client)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("member", "level"),
    [
        ({"access_level": 40, "state": "active", "membership_state": "active"}, 40),
        ({"access_level": 40}, 40),
        ({"access_level": 40, "state": "blocked", "membership_state": "active"}, 0),
        ({"access_level": 40, "state": "deactivated"}, 0),
        ({"access_level": 40, "state": "active", "membership_state": "awaiting"}, 0),
    ],
)
async def test_a_member_who_is_blocked_or_awaits_approval_has_no_role(
    answer: list[object], member: dict[str, object], level: int
) -> None:
    answer[0] = member
    client = RepositoryClient(GitLabConnector().open_transport(str(answer[1]), "glpat-secret", None))
    try:
        assert await client.get_access_level("a/b", 5) == level
    finally:
        await client.close()

"""One GitLab with one token is one set of connections, whatever is asked of it."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from bessemer.api.references import ScopeType
from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.projectclient import build_project_client
from bessemer.gitlab.protocol import Scope


async def test_all_questions_go_over_one_connection_which_is_closed_with_the_client() -> None:
    peers = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({"id": 7} if request.path.endswith(("/user", "site")) else [])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        transport: Any = GitLabConnector().open_transport(url, "glpat-1", None)
        client = build_project_client(transport)
        assert await client.repository.get_project_id("hpc/site") == 7
        assert await client.reports.list_merge_requests("hpc/site", "a" * 40) == []
        assert await client.hooks.list_hooks(Scope(ScopeType.PROJECT, "hpc/site"), "/x") == []
        assert len(peers) == 1
        await client.close()
        assert transport._session.closed

"""The client for the simulator, with an administrator's token, and what is in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bessemer.gitlab.client import connect_gitlab
from bessemer.gitlab.protocol import GitLab, Scope, ScopeType
from tests.contract.gitlab.conftest import Site

PROJECT = Scope(ScopeType.PROJECT, "hpc/sim")
GROUP = Scope(ScopeType.GROUP, "hpc")
INSTANCE = Scope(ScopeType.INSTANCE)


def seed(site: Site) -> dict[str, str]:
    return site.control.seed(
        projects=[{"path": "hpc/sim"}, {"path": "hpc/deep/other"}, {"path": "else/where"}],
        users=[{"username": "admin", "admin": True}, {"username": "reporter", "access": {"hpc/sim": 20}}],
        tokens=[
            {"user": "admin", "name": "admin", "scopes": ["api", "create_runner", "manage_runner"]},
            {"user": "reporter", "name": "reporter", "scopes": ["read_api"]},
        ],
    )


@pytest.fixture
async def client(site: Site) -> AsyncIterator[GitLab]:
    client = connect_gitlab(site.url, seed(site)["admin"], None)
    yield client
    await client.close()

"""A pool in a world in memory, without the waits that spare real ones requests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.pool_world import PoolWorld, open_pool_world
from tests.unit.kinds.runnerpool.pool_story import leave_out_pauses


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PoolWorld]:
    leave_out_pauses(monkeypatch)
    async with open_pool_world() as world:
        yield world

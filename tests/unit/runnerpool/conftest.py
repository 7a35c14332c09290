"""A pool in a world in memory, without the waits that spare real ones requests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bessemer.runnerpool import sources, statuspace
from tests.support.pool_world import PoolWorld, open_pool_world


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PoolWorld]:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    monkeypatch.setattr(statuspace, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(statuspace, "INTERVAL_SECONDS", 1e-9)
    async with open_pool_world() as world:
        yield world

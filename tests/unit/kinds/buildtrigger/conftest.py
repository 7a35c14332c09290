"""The world of a trigger."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.trigger_world import TriggerWorld, open_trigger_world


@pytest.fixture
async def world() -> AsyncIterator[TriggerWorld]:
    """A trigger that is applied and has asked GitLab once."""
    async with open_trigger_world() as opened:
        await opened.apply()
        await opened.settle()
        yield opened

"""Whatever stands in a Secret that a pool reads, no pass fails of it, and the pool can be deleted."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.engine import status
from bessemer.errors import Retry
from bessemer.kinds.runnerpool.demand import sources
from bessemer.kube.protocol import SECRETS
from tests.support.examples import examples
from tests.support.pool_world import KEY, open_pool_world

RECORD = ["token", "runner-id", "expires-at", "url", "scope", "request-digest", "issued-at", "refusals", "config.toml"]
_ODD = st.sampled_from(
    [
        b"yesterday",
        b"abc",
        b"-1",
        b"9" * 400,
        b"2026-03-02T00:00:00",
        b"9999-12-31T23:59:59Z",
        b"\xff\xfe",
        b"",
        b"a\nb",
    ]
)
_VALUES = st.none() | (_ODD | st.binary(max_size=20)).map(lambda value: base64.b64encode(value).decode())
_RAW = st.none() | st.sampled_from(["no base64!", "====", "ü"]) | _VALUES


@pytest.mark.parametrize("managed", [True, False])
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    record=st.dictionaries(st.sampled_from(RECORD), _RAW, min_size=1),
    users=st.dictionaries(st.sampled_from(["gitlab", "runner", "hook"]), _RAW, max_size=1),
)
async def test_no_value_in_a_secret_makes_a_pass_fail_nor_keeps_a_pool_from_going(
    managed: bool, record: dict[str, str | None], users: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    monkeypatch.setattr(status, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(status, "INTERVAL_SECONDS", 1e-9)
    runner = {"managed": {}} if managed else {"tokenSecret": {"name": "runner"}}
    async with open_pool_world() as world:
        await world.apply(runner=runner | {"tags": ["hpc"]})
        await world.settle(3)
        world.kubernetes.edit("secrets", KEY[0], "lab-runner", {"data": record})
        for name, value in users.items():
            world.kubernetes.edit("secrets", KEY[0], name, {"data": {"token": value}})
        for _ in range(3):
            world.pass_time(400)
            await world.settle(2)
        await world.restart_operator()
        await world.settle(2)
        assert world.condition("RunnerRegistered")[1] != "InternalError"
        assert await world.kubernetes.get_object(SECRETS, KEY[0], "lab-runner") is not None
        world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
        for _ in range(4):
            with suppress(Retry):  # what keeps GitLab from being told is tried again for a while
                await world.settle(2)
            world.pass_time(1200)
        assert ("runnerpools", *KEY) not in world.kubernetes.objects

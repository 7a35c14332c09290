"""What pools without jobs cost GitLab: requests as the simulator counts them, in time that goes by at once."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from bessemer.engine.loop import WakeUps
from bessemer.gitlab.client import connect_gitlab
from bessemer.gitlab.protocol import Scope
from bessemer.gitlab.transport import Transport
from bessemer.kinds.runnerpool.resource import RUNNER_POOLS
from bessemer.kube.protocol import SECRETS
from gitlab_simulator.control import send_over_http
from tests.contract.gitlab.client.conftest import GROUP, INSTANCE, PROJECT, seed
from tests.contract.gitlab.conftest import Site
from tests.support.jumping_loop import JumpingLoop
from tests.support.pool_world import PoolWorld, manifest, open_pool_world

GIVEN, MANAGED = ("ci", "given"), ("ci", "managed")
MINUTE = 60
PROJECT_JOBS = "GET /api/v4/projects/{project}/jobs"


async def apply_pools(world: PoolWorld, site: Site, scope: Scope, tokens: dict[str, str]) -> None:
    """Apply two pools that share a source: one is given its runner, one has Bessemer make its own."""
    world.deps.gitlab_clients.connect = connect_gitlab
    for name, value in tokens.items():
        data = {"token": base64.b64encode(value.encode()).decode()}
        metadata = {"name": name, "annotations": {"bessemer.dev/for": site.url}}
        await world.kubernetes.create_object(SECRETS, "ci", {"metadata": metadata, "data": data})
    gitlab = {
        "url": site.url,
        "scope": {"type": scope.type.value} | ({"path": scope.path} if scope.path else {}),
        "apiTokenSecret": {"name": "gitlab"},
        "webhookSecret": {"name": "hook"},
    }
    for key, runner in ((GIVEN, {"tokenSecret": {"name": "runner"}}), (MANAGED, {"managed": {}})):
        body = manifest(gitlab=gitlab, runner=runner | {"tags": ["hpc"]})
        await world.kubernetes.create_object(RUNNER_POOLS, key[0], body | {"metadata": {"name": key[1]}})


def watch_pools(world: PoolWorld, pools: WakeUps) -> None:
    """Bring what the watch streams would, and wake those pools that have news."""
    for key in (GIVEN, MANAGED):
        world.hear_pool(key)
    while world.woken:
        pools.wake(world.woken.pop())


def get_ready(world: PoolWorld) -> list[str]:
    """Return the status of each pool's condition Ready."""
    statuses = [world.kubernetes.objects["runnerpools", *key]["status"] for key in (GIVEN, MANAGED)]
    return [one["status"] for status in statuses for one in status["conditions"] if one["type"] == "Ready"]


def hold_time(monkeypatch: pytest.MonkeyPatch, loop: JumpingLoop) -> None:
    """Let the loop's time stand still while GitLab is asked."""
    fetch = Transport.fetch

    async def fetch_in_no_time(self: Transport, *arguments: Any, **options: Any) -> Any:
        with loop.stand_still():
            return await fetch(self, *arguments, **options)

    monkeypatch.setattr(Transport, "fetch", fetch_in_no_time)


def run_idle_pools(monkeypatch: pytest.MonkeyPatch, site: Site, scope: Scope, minutes: int) -> Counter[str]:
    """Let two pools be for so long, after they have settled in; return the requests that GitLab had in that time."""
    admin = seed(site)["admin"]
    runner = site.control.create_runner(admin, runner_type="instance_type", tag_list=["hpc"], run_untagged=False)
    tokens = {"gitlab": admin, "runner": str(runner["token"]), "hook": "hook-secret"}
    send, loop = send_over_http(site.url), JumpingLoop()
    hold_time(monkeypatch, loop)

    async def run() -> Counter[str]:
        async with open_pool_world() as world:
            start = world.clock[0]
            pools = WakeUps(
                world.controller.reconcile,
                300,
                lambda _: None,
                lambda _key, _fault: asyncio.sleep(0),
            )

            async def tell_time() -> None:
                while True:
                    world.clock[0] = start + timedelta(seconds=loop.time())
                    watch_pools(world, pools)
                    await asyncio.sleep(0.5)

            await apply_pools(world, site, scope, tokens)
            clock = asyncio.create_task(tell_time())
            await asyncio.sleep(1)
            for key in (GIVEN, MANAGED):
                pools.wake(key)
            await asyncio.sleep(10)
            assert get_ready(world) == ["True", "True"]
            before = Counter(site.control.requests())
            for _ in range(minutes):
                await asyncio.sleep(MINUTE)
                send("POST", "/-/simulator/clock/advance", {"seconds": MINUTE})
            asked = Counter(site.control.requests()) - before
            assert get_ready(world) == ["True", "True"]
            assert world.pods() == {}
            clock.cancel()
            await pools.close()
            return asked

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("scope", "poll"),
    [(PROJECT, PROJECT_JOBS), (GROUP, "POST /api/graphql"), (INSTANCE, "POST /api/graphql")],
    ids=str,
)
def test_two_idle_pools_that_share_a_source_cost_at_most_one_request_a_minute(
    monkeypatch: pytest.MonkeyPatch, site: Site, scope: Scope, poll: str
) -> None:
    asked = run_idle_pools(monkeypatch, site, scope, 10)
    assert 8 <= asked[poll] <= 10
    assert asked.total() <= 10, asked


def test_the_tokens_of_idle_pools_are_verified_once_an_hour_and_leave_it_at_a_request_a_minute(
    monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    asked: dict[str, Any] = run_idle_pools(monkeypatch, site, PROJECT, 61)
    assert asked["POST /api/v4/runners/verify"] == 2
    assert asked["DELETE /api/v4/runners/managers"] == 2
    assert sum(asked.values()) <= 61, asked

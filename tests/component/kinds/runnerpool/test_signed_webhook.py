"""Signed webhooks from the GitLab simulator to the operator, over HTTP: sent, checked, refused, sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bessemer.engine.metrics import Metrics
from bessemer.gitlab.protocol import PendingJob
from bessemer.kinds.runnerpool.demand import sources
from bessemer.web.app import add_public_routes
from gitlab_simulator.clock import Clock
from gitlab_simulator.model import Delivery
from gitlab_simulator.seeding import apply_seed
from gitlab_simulator.server import build_app
from gitlab_simulator.spec import Seed
from gitlab_simulator.state import GitLabState
from tests.support.pool_world import KEY, PROJECT, PoolWorld, open_pool_world

SIGNING_TOKEN = "whsec_dGhlIGtleSBvZiB0aGUgd2ViaG9vayBpcyBsb25n"
OTHER_TOKEN = "whsec_YW5vdGhlciBrZXkgYWx0b2dldGhlciwgYW5kIGxvbmc="
SECONDS = 10


@dataclass
class Site:
    """A GitLab, and an operator with a pool that its webhook leads to."""

    gitlab: GitLabState
    api: TestClient[Any, Any]
    hook_url: str
    world: PoolWorld
    metrics: Metrics

    async def add_hook(self, **fields: Any) -> None:
        """Create a webhook for the project's jobs, as its maintainer does."""
        body = {"url": self.hook_url, "job_events": True, **fields}
        answer = await self.api.post(f"/api/v4/projects/{PROJECT.replace('/', '%2F')}/hooks", json=body)
        assert answer.status == 201

    async def run_job(self) -> Delivery:
        """Have a job wait in GitLab; return what became of the event that tells of it."""
        order = {"project": PROJECT, "jobs": [{"tags": ["hpc"]}]}
        (number,) = (await (await self.api.post("/-/simulator/pipelines", json=order)).json())["jobs"]
        self.world.gitlab.jobs.append(PendingJob(number, PROJECT, frozenset({"hpc"})))
        async with asyncio.timeout(SECONDS):
            while True:
                over = [one for one in self.gitlab.deliveries.values() if one.status or one.error]
                if len(over) == len(self.gitlab.deliveries) == 2:  # created, pending
                    await self.world.settle()
                    return next(one for one in over if b'"pending"' in one.body)
                await asyncio.sleep(0)

    async def resend(self, delivery: Delivery) -> int:
        """Send an event again; return the status of the answer."""
        path = f"/api/v4/projects/{PROJECT.replace('/', '%2F')}/hooks/{delivery.hook_id}/events/{delivery.id}/resend"
        found = await (await self.api.post(path)).json()
        await self.world.settle()
        return int(found["response_status"])

    def count(self, outcome: str) -> float | None:
        return self.metrics.registry.get_sample_value("bessemer_webhooks_total", {"outcome": outcome})


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    async with open_pool_world() as world:
        gitlab = GitLabState(Clock(frozen_at=world.clock[0].timestamp()))
        seed = {
            "projects": [{"path": PROJECT}],
            "tokens": [{"user": "root", "name": "root", "value": "glpat-root"}],
        }
        apply_seed(gitlab, Seed.model_validate(seed))
        app = web.Application()
        add_public_routes(app, world.kind.routes.public, world.deps.metrics)
        api = TestClient(TestServer(build_app(gitlab)), headers={"PRIVATE-TOKEN": "glpat-root"})
        async with TestServer(app) as server, api:
            await world.apply()
            await world.put_secret("hook", SIGNING_TOKEN)
            await world.settle()
            world.gitlab.calls.clear()
            yield Site(gitlab, api, str(server.make_url(f"/v1/gitlab/{KEY[0]}/{KEY[1]}")), world, world.deps.metrics)


async def test_a_signed_webhook_is_taken_and_its_job_gets_a_pod(site: Site) -> None:
    await site.add_hook(signing_token=SIGNING_TOKEN)
    assert (await site.run_job()).status == 204
    assert (site.count("Taken"), site.count("Unauthorized")) == (2, None)
    assert len(site.world.pods()) == 1
    assert site.world.gitlab.calls == ["list_pending_jobs"]


@pytest.mark.parametrize("fields", [{"signing_token": OTHER_TOKEN}, {"token": OTHER_TOKEN}, {}])
async def test_a_webhook_with_another_key_or_none_is_refused_and_counted(site: Site, fields: dict[str, str]) -> None:
    await site.add_hook(**fields)
    assert (await site.run_job()).status == 401
    assert (site.count("Taken"), site.count("Unauthorized")) == (None, 2)
    assert site.world.pods() == {}
    assert site.world.gitlab.calls == []


async def test_a_signature_that_was_made_long_ago_is_refused(site: Site) -> None:
    await site.add_hook(signing_token=SIGNING_TOKEN)
    site.world.pass_time(301)
    assert (await site.run_job()).status == 401
    assert site.world.pods() == {}


async def test_an_event_that_was_refused_is_taken_when_it_is_sent_again_once_the_secret_is_right(site: Site) -> None:
    await site.add_hook(signing_token=OTHER_TOKEN)
    delivery = await site.run_job()
    assert delivery.status == 401
    await site.world.put_secret("hook", OTHER_TOKEN)
    site.world.pass_time(301)
    assert await site.resend(delivery) == 401  # signed too long ago, by the operator's clock
    assert site.count("Taken") is None
    site.gitlab.clock.advance(301)
    assert await site.resend(delivery) == 204
    assert site.count("Taken") == 1
    assert len(site.world.pods()) == 1

"""The operator's web server: who may post progress, what the probes say, what is measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import yarl
from aiohttp.test_utils import TestClient, TestServer

from bessemer.api.phase_contract import Progress
from bessemer.engine.hearing import Hearing
from bessemer.engine.kind import Route
from bessemer.kinds.clusterbuild import posts as module
from bessemer.kinds.clusterbuild.posts import PATH, ProgressPosts
from bessemer.web.app import Health, build_app
from tests.support.world import NAMESPACE, World

URL = f"/v1/progress/{NAMESPACE}/oxygen"
PROGRESS = {"message": "installing", "done": 1, "total": 4}


@dataclass
class Site:
    client: TestClient  # type: ignore[type-arg]  # its arguments say nothing here
    world: World
    health: Health
    woken: list[tuple[str, str]] = field(default_factory=list)

    async def post(self, token: str, body: object = PROGRESS) -> int:
        answer = await self.client.post(URL, json=body, headers={"Authorization": f"Bearer {token}"})
        return answer.status

    def know(self, token: str | None, uid: str = "1") -> None:
        """Have a pass over the build say what its Secret has."""
        self.world.kind.deps.memories.get((NAMESPACE, "oxygen")).know(uid, token)

    def get_progress(self) -> Progress | None:
        """What the build's running phase posted last."""
        memory = self.world.kind.deps.memories.find((NAMESPACE, "oxygen"))
        return memory.progress if memory is not None else None


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(module, "FOLD_SECONDS", 0.0)
    world = await asyncio.to_thread(World)  # it runs a separate event loop
    woken, health = list[tuple[str, str]](), Health(Hearing(), 120)
    route = Route(PATH, ProgressPosts(world.kind.deps.memories, woken.append).post)
    async with TestClient(TestServer(build_app(world.deps, health, [route]))) as client:
        site = Site(client, world, health, woken)
        health.leading = True
        site.know("right")
        world.kubernetes.calls.clear()
        yield site
        assert [call for call in world.kubernetes.calls if call[1] == "secrets"] == []


@pytest.mark.parametrize(
    "path", ["x%2F..%2F..%2Fpods%3Fwatch=1%26x=/b", "%2e%2e/b", "lab/..%2F..%2Fnodes", "Lab/b", "lab/-"]
)
async def test_what_can_be_no_build_is_refused(site: Site, path: str) -> None:
    url = yarl.URL(f"/v1/progress/{path}", encoded=True)
    answer = await site.client.post(url, json=PROGRESS, headers={"Authorization": "Bearer x"})
    assert answer.status in (401, 404)


async def test_progress_with_the_builds_token_is_kept_and_wakes_the_build(site: Site) -> None:
    assert await site.post("right") == 204
    kept = site.get_progress()
    assert kept is not None
    assert (kept.message, kept.done, kept.total) == ("installing", 1, 4)
    await site.client.get("/healthz")
    assert site.woken == [(NAMESPACE, "oxygen")]


async def test_who_stands_by_keeps_no_progress_and_says_so(site: Site) -> None:
    site.health.leading = False
    assert await site.post("right") == 503
    assert site.get_progress() is None
    site.health.leading = True
    assert await site.post("right") == 204


@pytest.mark.parametrize("token", ["wrong", "", "righ", "right2", "räight", "\udcff"])
async def test_another_token_is_refused(site: Site, token: str) -> None:
    assert await site.post(token) == 401
    assert site.get_progress() is None


async def test_a_post_without_a_token_or_for_an_unknown_build_is_refused(site: Site) -> None:
    assert (await site.client.post(URL, json=PROGRESS)).status == 401
    answer = await site.client.post("/v1/progress/lab/neon", json=PROGRESS, headers={"Authorization": "Bearer right"})
    assert answer.status == 401


async def test_of_a_recreated_build_nothing_old_is_kept(site: Site) -> None:
    assert await site.post("right") == 204
    site.know("new", uid="2")
    assert site.get_progress() is None
    assert await site.post("right") == 401
    assert await site.post("new") == 204


async def test_a_build_that_is_gone_takes_its_token_and_progress_along(site: Site) -> None:
    assert await site.post("right") == 204
    site.world.kind.deps.memories.forget((NAMESPACE, "oxygen"))
    assert await site.post("right") == 401
    assert site.get_progress() is None


async def test_a_build_without_a_token_takes_nothing(site: Site) -> None:
    site.know(None)
    assert await site.post("") == 401
    assert await site.post("None") == 401


async def test_what_is_no_progress_is_refused(site: Site) -> None:
    bodies: list[object] = [{"done": "many"}, [], "x", None]
    for body in bodies:
        assert await site.post("right", body) == 400
    for raw in (b"[" * 1200, b'{"message": "x", "done": 1e999}', b"\xff", b""):
        answer = await site.client.post(URL, data=raw, headers={"Authorization": "Bearer right"})
        assert answer.status == 400


async def test_a_post_that_is_too_long_is_refused(site: Site) -> None:
    assert await site.post("right", {"message": "x" * module.BODY_LIMIT}) == 413


async def test_a_leader_that_hears_nothing_is_not_alive(site: Site) -> None:
    assert (await site.client.get("/healthz")).status == 200
    deaf = Health(Hearing(), 0)
    assert deaf.is_alive(), "who stands by need not hear anything"
    deaf.leading = True
    assert not deaf.is_alive()
    assert (await site.client.get("/readyz")).status == 200


async def test_metrics_are_given_in_the_prometheus_format(site: Site) -> None:
    site.world.deps.metrics.phase_attempts.labels("Verify", "Succeeded").inc()
    text = await (await site.client.get("/metrics")).text()
    assert 'bessemer_phase_attempts_total{phase="Verify",reason="Succeeded"} 1.0' in text

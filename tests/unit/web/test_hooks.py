"""The handler for webhooks: who is let in, and what becomes of what they say."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bessemer.engine.metrics import Metrics
from bessemer.gitlab.hooks import HOOK_BYTES
from bessemer.gitlab.protocol import PendingJob
from bessemer.kinds.runnerpool.demand import sources
from bessemer.web import hooks
from bessemer.web.app import add_public_routes
from tests.support.pool_world import KEY, PROJECT, PoolWorld, open_pool_world

URL = f"/v1/gitlab/{KEY[0]}/{KEY[1]}"


@dataclass
class Site:
    client: TestClient  # type: ignore[type-arg]  # its arguments say nothing here
    world: PoolWorld
    metrics: Metrics

    async def post(self, status: str, token: str = "hook-secret", url: str = URL, job: int = 7) -> int:  # noqa: S107  a test's
        body = {
            "object_kind": "build",
            "build_id": job,
            "build_status": status,
            "build_name": "train",
            "ref": "main",
            "tag": False,
            "project": {"path_with_namespace": PROJECT},
        }
        return (await self.client.post(url, json=body, headers={"X-Gitlab-Token": token})).status

    def count(self, outcome: str) -> float | None:
        return self.metrics.registry.get_sample_value("bessemer_webhooks_total", {"outcome": outcome})


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    async with open_pool_world() as world:
        app = web.Application()
        add_public_routes(app, world.kind.routes.public, world.deps.metrics)
        async with TestClient(TestServer(app)) as client:
            await world.apply()
            await world.settle()
            yield Site(client, world, world.deps.metrics)


async def test_a_job_that_waits_has_the_jobs_listed_at_once(site: Site) -> None:
    site.world.gitlab.calls.clear()
    site.world.gitlab.jobs.append(PendingJob(7, PROJECT, frozenset({"hpc"})))
    assert await site.post("pending") == 204
    await site.world.settle()
    assert len(site.world.pods()) == 1
    assert site.world.gitlab.calls == ["list_pending_jobs"]


def train(number: int, *tags: str) -> PendingJob:
    """Return the job that webhooks speak of, with its tags."""
    return PendingJob(number, PROJECT, frozenset(tags), "main", name="train")


async def end_the_only_pod(site: Site, *claimed: int) -> None:
    (name,) = site.world.pods()
    site.world.start_pods()
    site.world.end_pod(name, *claimed)
    await site.world.settle()


async def test_a_job_that_comes_again_gets_its_pod_without_a_question(site: Site) -> None:
    site.world.gitlab.jobs.append(train(7, "hpc"))
    assert await site.post("pending") == 204
    await site.world.settle()
    await end_the_only_pod(site, 7)
    site.world.gitlab.calls.clear()
    site.world.gitlab.jobs.append(train(8, "hpc"))
    assert await site.post("pending", job=8) == 204
    await site.world.settle()
    await end_the_only_pod(site, 8)
    assert site.world.pods() == {}
    assert site.world.gitlab.calls == ["delete_manager"]


async def test_a_job_whose_tags_have_changed_costs_one_pod_and_is_then_known(site: Site) -> None:
    site.world.gitlab.jobs.append(train(7, "hpc"))
    assert await site.post("pending") == 204
    await site.world.settle()
    await end_the_only_pod(site, 7)
    site.world.gitlab.jobs.append(train(8, "gpu"))
    assert await site.post("pending", job=8) == 204
    await site.world.settle()
    await end_the_only_pod(site)  # GitLab has nothing for it
    site.world.pass_time(3600)
    await site.world.settle()
    assert site.world.pods() == {}


async def test_a_webhook_about_something_else_is_taken_and_changes_nothing(site: Site) -> None:
    site.world.gitlab.calls.clear()
    body = {"object_kind": "push", "ref": "refs/heads/main", "build_id": 7, "build_status": "pending"}
    answer = await site.client.post(URL, json=body, headers={"X-Gitlab-Token": "hook-secret"})
    assert answer.status == 204
    await site.world.settle()
    assert site.world.gitlab.calls == []


async def test_a_job_that_waits_no_more_is_forgotten_without_a_question(site: Site) -> None:
    site.world.queue(7)
    await site.world.settle()
    source = site.world.deps.sources.get_source(KEY)
    assert source is not None
    assert [waiting.job.id for waiting in source.board.list_jobs()] == [7]
    site.world.gitlab.calls.clear()
    assert await site.post("running") == 204
    assert source.board.list_jobs() == []
    assert site.world.gitlab.calls == []


async def test_a_job_is_not_lost_when_the_news_of_its_creation_comes_late(site: Site) -> None:
    site.world.gitlab.jobs.append(PendingJob(7, PROJECT, frozenset({"hpc"})))
    assert await site.post("pending") == 204
    assert await site.post("created") == 204
    await site.world.settle()
    assert len(site.world.pods()) == 1


async def test_a_webhook_that_is_silent_is_told_until_it_is_heard_again(site: Site) -> None:
    """GitLab lets a webhook rest that failed a few times, such as while the operator was away."""
    world = site.world
    for number in (7, 8):
        world.gitlab.jobs.append(PendingJob(number, PROJECT, frozenset({"hpc"})))
        source = world.deps.sources.get_source(KEY)
        assert source is not None
        source.nudge()  # as the time of a poll does
        if number == 7:
            assert await site.post("pending") == 204
        await world.settle()
        world.pass_time(10)
        await world.settle()
        told = {7: ("True", "Polled"), 8: ("True", "WebhookSilent")}
        assert world.condition("DemandKnown") == told[number]
    (event,) = world.events("WebhookSilent")
    assert "no webhook announced job 8 of hpc/simulations" in event
    assert world.condition("Ready") == ("True", "Serving")
    assert await site.post("running") == 204
    await world.settle()
    assert world.condition("DemandKnown") == ("True", "Polled")


async def test_who_can_not_prove_itself_is_refused_and_counted(site: Site) -> None:
    assert await site.post("pending", token="wrong") == 401
    assert await site.post("pending", url="/v1/gitlab/ci/other") == 404
    assert [site.count(outcome) for outcome in ("Unauthorized", "UnknownPool")] == [1, 1]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"{", "InvalidWebhook"),
        (b"[" * 1200, "InvalidWebhook"),
        (b'{"object_kind": "build", "build_id": 1e999, "build_status": "pending"}', "InvalidWebhook"),
        (b"\xff", "InvalidWebhook"),
        (b"", "InvalidWebhook"),
        (b'{"object_kind": "push"}', "Ignored"),
    ],
)
async def test_what_a_sender_sends_who_has_proven_itself_is_answered_with_204_be_it_of_use_or_not(
    site: Site, body: bytes, outcome: str
) -> None:
    """GitLab disables a webhook that fails four times in a row."""
    answer = await site.client.post(URL, data=body, headers={"X-Gitlab-Token": "hook-secret"})
    assert answer.status == 204
    assert site.count(outcome) == 1


@pytest.mark.parametrize("url", [URL + "/", URL + "?x=1", URL + "/?x=1"])
async def test_a_slash_at_the_end_of_the_path_does_no_harm(site: Site, url: str) -> None:
    assert await site.post("pending", url=url) == 204
    assert site.count("Taken") == 1


@pytest.mark.parametrize(
    "path", ["/", "/v1/gitlab/ci", "/v1/gitlab/ci/lab/x", "/v1/gitlab//lab", "/metrics", "/V1/gitlab/ci/lab"]
)
async def test_another_path_or_method_is_refused_and_counted(site: Site, path: str) -> None:
    assert (await site.client.post(path, data=b"{}")).status == 404
    assert (await site.client.get(path)).status == 405
    assert (await site.client.put(URL, data=b"{}", headers={"X-Gitlab-Token": "hook-secret"})).status == 405
    assert [site.count(outcome) for outcome in ("UnknownPath", "WrongMethod")] == [1, 2]


async def test_a_commit_message_of_any_length_that_gitlab_sends_is_taken(site: Site) -> None:
    """GitLab sends up to 25 MiB; squashed commits have long messages."""
    site.world.gitlab.jobs.append(PendingJob(7, PROJECT, frozenset({"hpc"})))
    head = b'{"object_kind":"build","commit":{"message":"'
    tail = b'"},"build_id":7,"build_status":"pending"}'
    for length, status in ((66_000, 204), (HOOK_BYTES, 204), (HOOK_BYTES + 1, 413)):
        body = head + b"x" * (length - len(head) - len(tail)) + tail
        answer = await site.client.post(URL, data=io.BytesIO(body), headers={"X-Gitlab-Token": "hook-secret"})
        assert answer.status == status
    assert [site.count(outcome) for outcome in ("Taken", "TooLarge")] == [2, 1]
    await site.world.settle()
    assert len(site.world.pods()) == 1


async def test_what_unpacks_to_more_is_refused_and_what_is_packed_is_taken(site: Site) -> None:
    headers = {"X-Gitlab-Token": "hook-secret", "Content-Encoding": "gzip"}
    body = b'{"object_kind":"build","build_id":7,"build_status":"pending"'
    for spaces, status in ((1000, 204), (HOOK_BYTES, 413)):
        packed = gzip.compress(body + b" " * spaces + b"}")
        assert (await site.client.post(URL, data=packed, headers=headers)).status == status
    assert (await site.client.post(URL, data=b"no gzip", headers=headers)).status == 400
    assert [site.count(outcome) for outcome in ("Taken", "TooLarge", "BrokenBody")] == [1, 1, 1]


async def test_who_has_not_proven_itself_is_answered_before_the_body(site: Site) -> None:
    for url, token, status in ((URL, "wrong", 401), ("/v1/gitlab/no/such", "hook-secret", 404)):
        assert await begin_post(site, url, f"X-Gitlab-Token: {token}", HOOK_BYTES + 1) == status
    assert await begin_post(site, URL, "X-Gitlab-Token: hook-secret", HOOK_BYTES + 1) == 413


async def test_a_body_that_does_not_come_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "BODY_SECONDS", 0.1)
    assert await begin_post(site, URL, "X-Gitlab-Token: hook-secret", 100) == 408
    assert site.count("TooSlow") == 1


async def begin_post(site: Site, url: str, header: str, length: int) -> int:
    """Send the head of a post and one byte of its body; return the status of the answer."""
    reader, writer = await asyncio.open_connection(site.client.server.host, site.client.server.port)
    writer.write(f"POST {url} HTTP/1.1\r\nHost: x\r\n{header}\r\nContent-Length: {length}\r\n\r\n{{".encode())
    status = (await asyncio.wait_for(reader.readline(), 5)).split()[1]
    writer.close()
    await writer.wait_closed()
    return int(status)


async def test_a_rotated_secret_is_taken_with_the_first_webhook_that_has_it(site: Site) -> None:
    await site.world.put_secret("hook", "new-secret")
    assert await site.post("pending", token="new-secret") == 204
    assert await site.post("pending", token="hook-secret") == 401


async def test_strangers_do_not_have_the_secret_read_again_and_again(site: Site) -> None:
    assert await site.post("pending", token="guess") == 401
    await site.world.put_secret("hook", "new-secret")
    assert await site.post("pending", token="new-secret") == 401  # too soon after the stranger
    site.world.pass_time(2)
    assert await site.post("pending", token="new-secret") == 204

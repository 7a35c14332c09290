"""Groups with more projects than one poll looks at: none is left out, by a bounded number of requests."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from bessemer.gitlab import groups
from bessemer.gitlab.client import connect_gitlab
from bessemer.gitlab.hooks import JobHook
from bessemer.gitlab.jobs import RunnerTraits
from bessemer.gitlab.protocol import GitLab, GitLabUnavailable, ProjectRef, Scope, ScopeType
from bessemer.kinds.runnerpool.demand import sources
from bessemer.kinds.runnerpool.demand.interest import Interest
from bessemer.kinds.runnerpool.demand.sources import Source
from tests.contract.gitlab.conftest import Site

MANY = Scope(ScopeType.GROUP, "many")
GRAPHQL, JOBS = "POST /api/graphql", "GET /api/v4/projects/{project}/jobs"
PAGES = 20
"""Requests that one poll asks for projects."""


@pytest.fixture(autouse=True)
def _turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "TURN_SECONDS", 0.0)


def seed_many(site: Site, count: int) -> str:
    """Make that many projects; return an access token that sees them."""
    for first in range(0, count, 500):
        site.control.seed(projects=[{"path": f"many/p{number}"} for number in range(first, min(first + 500, count))])
    users = [{"username": "admin", "admin": True}]
    tokens = [{"user": "admin", "name": "admin", "scopes": ["api"]}]
    return str(site.control.seed(users=users, tokens=tokens)["admin"])


def count_requests(site: Site, before: dict[str, int]) -> dict[str, int]:
    return {route: count - before.get(route, 0) for route, count in site.control.requests().items()}


@pytest.mark.parametrize(("count", "at", "polls"), [(900, 850, 1), (1100, 1050, 2), (5000, 4990, 5)])
async def test_a_job_of_any_project_is_found_within_a_round_of_polls(
    site: Site, count: int, at: int, polls: int
) -> None:
    client = connect_gitlab(site.url, seed_many(site, count), None)
    (number,) = site.control.run_jobs(f"many/p{at}", {})
    for poll in range(1, polls + 1):
        before = dict(site.control.requests())
        found = await client.list_pending_jobs(MANY)
        asked = count_requests(site, before)
        assert asked[GRAPHQL] <= PAGES
        assert asked.get(JOBS, 0) <= 1
        assert [job.id for job in found.jobs] == ([number] if poll == polls else [])
        assert found.complete is (polls == 1)
    if polls > 1:
        assert (
            f"more projects than the 1000 that a poll looks at, so they are seen in turns of {polls} polls"
            in found.note
        )
    # From then on each poll lists the jobs of that project, wherever the turn is.
    for _ in range(polls):
        assert [job.id for job in (await client.list_pending_jobs(MANY)).jobs] == [number]
    await client.close()


async def test_a_job_that_is_gone_is_known_to_be_gone_although_the_list_is_not_complete(site: Site) -> None:
    token = seed_many(site, 1100)
    client = connect_gitlab(site.url, token, None)
    (number,) = site.control.run_jobs("many/p3", {})
    (job,) = (await client.list_pending_jobs(MANY)).jobs
    site.control.cancel_job(token, number)
    found = await client.list_pending_jobs(MANY)
    assert (found.jobs, found.complete, found.covers(job)) == ((), False, True)
    await client.close()


async def test_jobs_of_a_project_that_a_webhook_names_are_listed_out_of_turn(site: Site) -> None:
    client = connect_gitlab(site.url, seed_many(site, 1100), None)
    (number,) = site.control.run_jobs("many/p1050", {})
    for hint in (ProjectRef("many/p1050"), ProjectRef("MANY/P1050"), ProjectRef("else/where")):
        found = await client.list_pending_jobs(MANY, hints=[hint])
        assert [job.id for job in found.jobs] == [number], hint
    await client.close()


async def test_a_webhook_of_a_project_that_was_never_seen_brings_its_job_to_the_pool(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, with turns that are an hour apart: nothing but the webhook finds the job."""
    monkeypatch.setattr(groups, "TURN_SECONDS", 3600.0)
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    gitlab = connect_gitlab(site.url, seed_many(site, 1100), None)
    traits = RunnerTraits(MANY, frozenset({"hpc"}), False, False)
    told = asyncio.Event()
    source = Source(gitlab, MANY, lambda: datetime.now(UTC), lambda _: told.set())
    source.pools["ci", "lab"] = Interest(traits, 3600)
    async with asyncio.timeout(60):
        await told.wait()
        assert source.compute_demand(traits).known
        told.clear()
        (number,) = site.control.run_jobs("many/p1050", {"tags": ["hpc"]})
        source.put_webhook(JobHook("Many/P1050", number, "pending", "job", "main"))
        await told.wait()
    jobs = source.compute_demand(traits).jobs
    assert [waiting.job.id for waiting in jobs] == [number]
    assert "more projects than the 1000" in source.compute_demand(traits).message
    await source.close()


async def test_a_gitlab_that_fails_in_between_makes_no_group_a_large_one(site: Site) -> None:
    client = connect_gitlab(site.url, seed_many(site, 200), None)
    assert (await client.list_pending_jobs(MANY)).complete
    site.control.switch_fault(route=GRAPHQL, status=502, times=1)
    with pytest.raises(GitLabUnavailable):
        await client.list_pending_jobs(MANY)
    found = await client.list_pending_jobs(MANY)
    assert (found.complete, found.note) == (True, "")
    await client.close()


async def test_a_group_that_has_become_small_is_listed_as_a_whole_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: GitLab = connect_gitlab(site.url, seed_many(site, 120), None)
    monkeypatch.setattr(groups, "MAX_PAGES", 1)
    assert [(await client.list_pending_jobs(MANY)).complete for _ in range(3)] == [False] * 3
    monkeypatch.setattr(groups, "MAX_PAGES", 20)
    assert [(await client.list_pending_jobs(MANY)).complete for _ in range(2)] == [True] * 2
    await client.close()

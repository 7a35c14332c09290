"""Jobs that wait, read from the simulator: all of them, by few requests, and whether their refs are protected."""

from __future__ import annotations

import pytest
from yarl import URL

from bessemer.gitlab import groups, pages, pending
from bessemer.gitlab.answers import LargeAnswers
from bessemer.gitlab.client import connect_gitlab
from bessemer.gitlab.credentials import build_context
from bessemer.gitlab.pending import PendingReader
from bessemer.gitlab.protocol import GitLab, RateLimited, Scope, ScopeType
from bessemer.gitlab.transport import Transport
from tests.contract.gitlab.client.conftest import GROUP, INSTANCE, PROJECT, seed
from tests.contract.gitlab.conftest import Site

PROTECTED = "GET /api/v4/projects/{project}/protected_{kind}"


@pytest.mark.parametrize("scope", [PROJECT, GROUP, INSTANCE], ids=str)
async def test_all_pages_are_read(site: Site, client: GitLab, scope: Scope) -> None:
    numbers = site.control.run_jobs("hpc/deep/other", {})
    numbers += site.control.run_jobs("hpc/sim", *({"name": f"job {number}", "tags": ["hpc"]} for number in range(230)))
    found = await client.list_pending_jobs(scope)
    assert sorted(job.id for job in found.jobs) == (numbers[1:] if scope is PROJECT else numbers)
    assert found.complete


@pytest.mark.parametrize("scope", [PROJECT, GROUP, INSTANCE], ids=str)
async def test_that_there_are_more_jobs_than_are_read_is_said(
    site: Site, client: GitLab, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGES", 2)
    monkeypatch.setattr(pending, "MAX_PAGES", 2)
    numbers = site.control.run_jobs("hpc/sim", *({"name": f"job {number}"} for number in range(230)))
    found = await client.list_pending_jobs(scope)
    assert not found.complete
    assert sorted(job.id for job in found.jobs) == numbers[-200:]  # GitLab lists the newest first


async def test_a_group_with_more_busy_projects_than_are_read_is_said_to_have_more_jobs(
    site: Site, client: GitLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.control.seed(projects=[{"path": f"many/p{number}"} for number in range(60)])
    for number in (3, 55):
        site.control.run_jobs(f"many/p{number}", {})
    many = Scope(ScopeType.GROUP, "many")
    found = await client.list_pending_jobs(many)
    assert ({job.project for job in found.jobs}, found.complete) == ({"many/p3", "many/p55"}, True)
    monkeypatch.setattr(groups, "MAX_PROJECTS", 1)
    for project in ("many/p3", "many/p55", "many/p3"):  # in turns
        found = await client.list_pending_jobs(many)
        assert ({job.project for job in found.jobs}, found.complete) == ({project}, False)
        assert found.note.startswith("1 project with pipelines under way is left to the next polls")


async def test_jobs_of_child_pipelines_are_listed_with_their_groups(site: Site, client: GitLab) -> None:
    numbers = site.control.run_jobs("hpc/sim", {}, source="parent_pipeline")
    assert [job.id for job in (await client.list_pending_jobs(GROUP)).jobs] == numbers


async def test_a_group_without_pipelines_costs_one_request_and_a_busy_project_one_more(
    site: Site, client: GitLab
) -> None:
    site.control.seed(projects=[{"path": f"hpc/p{number}"} for number in range(40)])
    await client.list_pending_jobs(GROUP)
    assert site.control.requests() == {"POST /api/graphql": 1}
    site.control.run_jobs("hpc/p7", {})
    await client.list_pending_jobs(GROUP)
    assert site.control.requests() == {"POST /api/graphql": 2, "GET /api/v4/projects/{project}/jobs": 1}


async def test_a_project_that_goes_between_two_requests_does_not_hold_up_its_group(site: Site, client: GitLab) -> None:
    for project in ("hpc/sim", "hpc/deep/other"):
        site.control.run_jobs(project, {})
    site.control.switch_fault(route="GET /api/v4/projects/[0-9]+/jobs", status=404, times=1)
    found = await client.list_pending_jobs(GROUP)
    assert ([job.project for job in found.jobs], found.complete) == (["hpc/deep/other"], True)


@pytest.mark.parametrize("scope", [PROJECT, GROUP], ids=str)
async def test_refs_that_the_token_may_not_see_are_not_known_to_be_protected_and_not_asked_for_again(
    site: Site, scope: Scope
) -> None:
    seed(site)  # the token's user is a Reporter, whom GitLab does not show protected branches
    site.control.seed(
        users=[{"username": "watcher", "access": {"hpc": 20, "hpc/deep": 30}}],
        tokens=[{"user": "watcher", "name": "watcher", "value": "glpat-watcher", "scopes": ["read_api"]}],
    )
    for project in ("hpc/sim", "hpc/deep/other"):
        site.control.run_jobs(project, {})
    client = connect_gitlab(site.url, "glpat-watcher", None)
    for _ in range(3):
        found = await client.list_pending_jobs(scope, with_protected=True)
        known = {job.project: job.protected for job in found.jobs}
        assert known == ({"hpc/sim": None} if scope is PROJECT else {"hpc/sim": None, "hpc/deep/other": True})
    assert site.control.requests()[PROTECTED] == len(known)
    await client.close()


async def test_rules_of_protected_refs_are_read_again_after_five_minutes(site: Site) -> None:
    token, clock = seed(site)["admin"], [0.0]
    site.control.run_jobs("hpc/sim", {})
    transport = Transport(URL(site.url), token, build_context(None), LargeAnswers())
    reader = PendingReader(transport, lambda: clock[0])
    for seconds, reads in ((0, 1), (299, 1), (301, 2), (302, 2)):
        clock[0] = seconds
        assert (await reader.list_jobs(PROJECT, with_protected=True)).jobs[0].protected is True
        assert site.control.requests()[PROTECTED] == reads
    await transport.close()


async def test_a_gitlab_that_fails_while_refs_are_read_fails_the_poll(site: Site, client: GitLab) -> None:
    site.control.run_jobs("hpc/sim", {})
    site.control.switch_fault(route="protected_branches", status=429, headers={"Retry-After": "30"}, times=1)
    with pytest.raises(RateLimited):
        await client.list_pending_jobs(PROJECT, with_protected=True)
    assert (await client.list_pending_jobs(PROJECT, with_protected=True)).jobs[0].protected is True


async def test_whether_a_merge_request_is_protected_is_not_known(site: Site, client: GitLab) -> None:
    site.control.seed(projects=[{"path": "hpc/all", "protected_branches": ["*"]}])
    site.control.run_jobs("hpc/all", {}, ref="refs/merge-requests/7/head", source="merge_request_event")
    (job,) = (await client.list_pending_jobs(GROUP, with_protected=True)).jobs
    assert job.protected is None

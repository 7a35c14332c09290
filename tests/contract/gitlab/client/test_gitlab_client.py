"""The fake GitLab and the real client against the simulator pass the same tests; then what only a server can do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from bessemer.errors import BessemerError, Retry
from bessemer.gitlab.client import connect_gitlab
from bessemer.gitlab.protocol import (
    AccessTokenRefused,
    GitLab,
    GitLabNotFound,
    GitLabRefused,
    GitLabUnavailable,
    PendingJob,
    RateLimited,
    RunnerRequest,
    Scope,
    ScopeType,
)
from tests.contract.gitlab.client.conftest import GROUP, INSTANCE, PROJECT, seed
from tests.contract.gitlab.conftest import Site, TlsSite
from tests.fakes.gitlab import FakeGitLab

SLACK_SECONDS = 60
"""Between two looks at the clock, on a busy machine."""
REQUEST = RunnerRequest(
    scope=PROJECT,
    description="a pool",
    marker="uid-of-the-pool",
    tags=frozenset({"gpu", "hpc"}),
    run_untagged=False,
    protected=False,
)


@dataclass
class World:
    """A GitLab behind its client, how a job gets into it, and how runner tokens are made to end and time passes."""

    gitlab: GitLab
    add_job: Callable[[str, list[str]], None]
    expire_tokens: Callable[[float], None]
    pass_time: Callable[[float], None]


@pytest.fixture(params=["fake", "real"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        fake = FakeGitLab()

        def add(project: str, tags: list[str]) -> None:
            fake.jobs.append(PendingJob(1001 + len(fake.jobs), project, frozenset(tags), "main", protected=True))

        def expire(seconds: float) -> None:
            fake.expires_at = datetime.now(UTC) + timedelta(seconds=seconds)

        def pass_time(seconds: float) -> None:
            assert fake.expires_at is not None
            fake.expires_at += timedelta(seconds=seconds)

        yield World(fake, add, expire, pass_time)
        return
    site: Site = request.getfixturevalue("site")
    client = connect_gitlab(site.url, seed(site)["admin"], None)
    yield World(
        client,
        lambda project, tags: void(site.control.run_jobs(project, {"tags": tags})),
        lambda seconds: site.control.change_settings(project_runner_token_expiration_interval=seconds),
        site.control.advance_clock,
    )
    await client.close()


def void(_: object) -> None:
    """Return nothing."""


async def test_jobs_that_wait_are_listed_by_scope(world: World) -> None:
    for project in ("hpc/sim", "hpc/deep/other", "else/where"):
        world.add_job(project, ["hpc"])
    found = {scope: await world.gitlab.list_pending_jobs(scope) for scope in (PROJECT, GROUP, INSTANCE)}
    assert {job.project for job in found[PROJECT].jobs} == {"hpc/sim"}
    assert {job.project for job in found[GROUP].jobs} == {"hpc/sim", "hpc/deep/other"}
    assert len(found[INSTANCE].jobs) == 3
    assert all(pending.complete for pending in found.values())
    assert all(job.tags == {"hpc"} and job.protected is None for pending in found.values() for job in pending.jobs)


async def test_whether_a_ref_is_protected_is_looked_up_when_wanted(world: World) -> None:
    world.add_job("hpc/sim", [])
    for scope in (PROJECT, GROUP):
        (job,) = (await world.gitlab.list_pending_jobs(scope, with_protected=True)).jobs
        assert job.protected is True


async def test_tags_are_protected_by_other_rules_than_branches(site: Site, client: GitLab) -> None:
    rules = {"protected_branches": ["main", "release/*"], "protected_tags": ["v*"]}
    site.control.seed(projects=[{"path": "hpc/rules", **rules}])
    refs = {("main", False): True, ("release/1/a", False): True, ("v1", False): False, ("mainline", False): False}
    refs |= {("v1", True): True, ("main", True): False}
    wanted = {
        site.control.run_jobs("hpc/rules", {"tags": []}, ref=ref, tag=tag)[0]: protected
        for (ref, tag), protected in refs.items()
    }
    for scope in (Scope(ScopeType.PROJECT, "hpc/rules"), GROUP, INSTANCE):
        jobs = (await client.list_pending_jobs(scope, with_protected=True)).jobs
        assert {job.id: job.protected for job in jobs} == wanted


async def test_what_is_wrong_with_the_connection_is_said_in_a_sentence(site: Site) -> None:
    token = seed(site)["admin"]
    missing = Scope(ScopeType.PROJECT, "hpc/missing")
    for url, key, scope, said in (
        ("http://127.0.0.1:1", token, PROJECT, r"^no answer: .*\[Errno 111\] Connection refused$"),
        ("http://nowhere.invalid", token, PROJECT, r"^no answer: .*nowhere\.invalid"),
        (site.url, "glpat-wrong", PROJECT, r"^GitLab does not know the token: 401 Unauthorized$"),
        (site.url, token, missing, r"^project hpc/missing is not there, or the access token may not see it$"),
        (site.url, token, Scope(ScopeType.GROUP, "none"), r"^group none is not there, or the access token may not"),
    ):
        client = connect_gitlab(url, key, None)
        with pytest.raises(BessemerError) as caught:
            await client.list_pending_jobs(scope)
        assert re.search(said, caught.value.message), caught.value.message
        assert "0x" not in caught.value.message
        await client.close()


async def test_a_runner_is_found_by_its_marker_until_it_is_deleted(world: World) -> None:
    made = await world.gitlab.create_runner(REQUEST)
    assert await world.gitlab.list_runners(PROJECT, "uid-of-the-pool") == [made.id]
    assert await world.gitlab.list_runners(PROJECT, "another") == []
    await world.gitlab.update_runner(made.id, replace(REQUEST, tags=frozenset({"cpu"})))
    await world.gitlab.delete_runner(made.id)
    await world.gitlab.delete_runner(made.id)
    assert await world.gitlab.list_runners(PROJECT, "uid-of-the-pool") == []


async def test_a_token_that_was_rotated_is_refused(world: World) -> None:
    made = await world.gitlab.create_runner(REQUEST)
    identity = await world.gitlab.verify_runner(made.token)
    assert identity is not None
    assert identity.id == made.id
    again = await world.gitlab.rotate_runner(made.id)
    assert await world.gitlab.verify_runner(made.token) is None
    assert await world.gitlab.verify_runner(again.token) is not None


async def test_a_token_ends_when_gitlab_says_and_later_once_it_is_rotated(world: World) -> None:
    assert (await world.gitlab.create_runner(REQUEST)).expires_at is None
    world.expire_tokens(7200)
    made = await world.gitlab.create_runner(REQUEST)
    assert made.expires_at is not None
    assert abs((made.expires_at - datetime.now(UTC)).total_seconds() - 7200) < SLACK_SECONDS
    identity = await world.gitlab.verify_runner(made.token)
    assert identity is not None
    assert (identity.id, identity.expires_at) == (made.id, made.expires_at)
    world.pass_time(3600)
    again = await world.gitlab.rotate_runner(made.id)
    assert again.expires_at is not None
    assert abs((again.expires_at - made.expires_at).total_seconds() - 3600) < SLACK_SECONDS
    identity = await world.gitlab.verify_runner(again.token)
    assert identity is not None
    assert identity.expires_at == again.expires_at


async def test_a_token_that_has_ended_is_refused(site: Site, client: GitLab) -> None:
    site.control.change_settings(project_runner_token_expiration_interval=7200)
    made = await client.create_runner(REQUEST)
    site.control.advance_clock(7201)
    assert await client.verify_runner(made.token) is None
    again = await client.rotate_runner(made.id)
    assert await client.verify_runner(again.token) is not None


async def test_what_is_gone_is_said_and_a_manager_that_is_gone_is_fine(world: World) -> None:
    made = await world.gitlab.create_runner(REQUEST)
    await world.gitlab.delete_manager(made.token, "r_0123456789ab")
    with pytest.raises(GitLabRefused):
        await world.gitlab.delete_manager("glrt-unknown", "r_0123456789ab")
    with pytest.raises(GitLabNotFound):
        await world.gitlab.rotate_runner(made.id + 1)


async def test_asking_whose_token_it_is_leaves_no_manager(site: Site, client: GitLab) -> None:
    made = await client.create_runner(REQUEST)
    await client.verify_runner(made.token)
    assert [runner["managers"] for runner in site.control.runners()] == [[]]


async def test_a_token_without_the_right_is_refused_and_stands_in_no_message(site: Site) -> None:
    token = seed(site)["reporter"]
    client = connect_gitlab(site.url, token, None)
    with pytest.raises(GitLabRefused) as caught:
        await client.create_runner(REQUEST)
    assert token not in str(caught.value)
    await client.close()


async def test_when_the_access_token_ends_is_known_and_that_it_has_ended(site: Site) -> None:
    tokens: list[dict[str, object]] = [
        {"user": "admin", "name": "ends", "scopes": ["read_api"], "expires_in": 86400.0 * 5},
        {"user": "admin", "name": "stays", "scopes": ["read_api"]},
    ]
    seed(site)
    values = site.control.seed(users=[{"username": "watcher"}], tokens=[one | {"user": "watcher"} for one in tokens])
    ending, staying = (connect_gitlab(site.url, values[name], None) for name in ("ends", "stays"))
    end = await ending.get_expiry()
    assert end is not None
    assert timedelta(days=3) < end - datetime.now(UTC) <= timedelta(days=5)
    assert (end.hour, end.minute, end.utcoffset()) == (0, 0, timedelta())
    assert await staying.get_expiry() is None
    site.control.advance_clock(86400 * 6)
    with pytest.raises(AccessTokenRefused, match=r"^AccessTokenRefused: the access token has expired: 401 Token is"):
        await ending.list_pending_jobs(PROJECT)
    await ending.close()
    await staying.close()


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (503, GitLabUnavailable)])
async def test_how_long_to_wait_is_taken_from_gitlab(
    site: Site, client: GitLab, status: int, error: type[Retry]
) -> None:
    site.control.switch_fault(route="GET /api/v4/projects", status=status, headers={"Retry-After": "7"}, times=1)
    with pytest.raises(error) as caught:
        await client.list_pending_jobs(PROJECT)
    assert caught.value.after == 7
    assert (await client.list_pending_jobs(PROJECT)).jobs == ()


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 500}, {"kind": "reset"}])
async def test_a_gitlab_in_trouble_is_told_once(site: Site, client: GitLab, fault: dict[str, object]) -> None:
    site.control.switch_fault(route="GET /api/v4/projects", **fault)
    with pytest.raises(GitLabUnavailable):
        await client.list_pending_jobs(PROJECT)
    assert site.control.clear_faults() <= 2  # a connection that was kept open may be tried once more


async def test_a_runner_is_in_gitlab_as_it_was_asked_for(site: Site) -> None:
    token = seed(site)["admin"]
    client, api = connect_gitlab(site.url, token, None), site.connect(token)
    asked = replace(REQUEST, protected=True, locked=True, maximum_timeout=1800)
    made = await client.create_runner(asked)
    runner = api.runners.get(made.id).attributes
    said = {"access_level": "ref_protected", "locked": True, "maximum_timeout": 1800, "run_untagged": False}
    assert {name: runner[name] for name in said} == said
    changed = replace(asked, protected=False, locked=False, maximum_timeout=900, run_untagged=True, paused=True)
    await client.update_runner(made.id, changed)
    runner = api.runners.get(made.id).attributes
    said = {"access_level": "not_protected", "locked": False, "maximum_timeout": 900, "run_untagged": True}
    assert {name: runner[name] for name in said} == said
    assert runner["paused"] is True
    await client.close()


async def test_the_certificate_of_a_sites_own_authority_is_checked(tls_site: TlsSite) -> None:
    token = seed(tls_site)["admin"]
    trusting, doubting = (connect_gitlab(tls_site.url, token, ca) for ca in (tls_site.ca, None))
    assert (await trusting.list_pending_jobs(PROJECT)).jobs == ()
    with pytest.raises(GitLabUnavailable, match="certificate verify failed"):
        await doubting.list_pending_jobs(PROJECT)
    await trusting.close()
    await doubting.close()

"""Who is told what of the jobs that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from bessemer.engine.loop import Key
from bessemer.errors import Retry
from bessemer.gitlab.hooks import JobHook
from bessemer.gitlab.jobs import RunnerTraits
from bessemer.gitlab.protocol import GitLabRefused, GitLabUnavailable, PendingJob, ProjectRef, Scope, ScopeType
from bessemer.kinds.runnerpool.demand import recollection, sources
from bessemer.kinds.runnerpool.demand.announcements import Announcements
from bessemer.kinds.runnerpool.demand.interest import Interest, SourceKey
from bessemer.kinds.runnerpool.demand.recollection import Recollection
from bessemer.kinds.runnerpool.demand.sources import Source, Sources
from tests.fakes.gitlab import FakeGitLab

PROJECT = "hpc/simulations"
SCOPE = Scope(ScopeType.PROJECT, PROJECT)
CPU, GPU = ("ci", "cpu"), ("ci", "gpu")


@dataclass
class Office:
    """A source with two pools, and those of them that were told."""

    source: Source
    gitlab: FakeGitLab
    told: set[Key]
    clock: list[datetime]

    async def poll(self) -> set[Key]:
        """Have it poll; return the pools that have been told since the last time."""
        self.source.nudge()
        return await self._take_told()

    async def hear(self, hook: JobHook) -> set[Key]:
        """Return it a webhook; return the pools that have been told since the last time."""
        self.source.put_webhook(hook)
        return await self._take_told()

    async def _take_told(self) -> set[Key]:
        for _ in range(20):
            await asyncio.sleep(0)
        told = set(self.told)
        self.told.clear()
        return told


@pytest.fixture
async def office(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    monkeypatch.setattr(sources, "FIRST_BACK_OFF_SECONDS", 0.0)
    gitlab, told, clock = FakeGitLab(), set[Key](), [datetime(2026, 3, 2, tzinfo=UTC)]
    source = Source(gitlab, SCOPE, lambda: clock[0], told.add)
    for pool in (CPU, GPU):
        source.pools[pool] = Interest(RunnerTraits(SCOPE, frozenset({pool[1]}), False, False), 3600)
    yield Office(source, gitlab, told, clock)
    await source.close()


async def test_a_poll_is_told_to_the_pools_whose_jobs_it_brings_or_misses(office: Office) -> None:
    assert await office.poll() == {CPU, GPU}  # the first: demand is known now
    assert await office.poll() == set()
    office.gitlab.jobs.append(PendingJob(1, PROJECT, frozenset({"gpu"})))
    assert await office.poll() == {GPU}
    assert await office.poll() == {GPU}  # it waits still: another pod may be due
    office.gitlab.jobs.clear()
    assert await office.poll() == {GPU}
    assert await office.poll() == set()


async def test_a_job_that_a_full_list_omits_is_not_taken_for_gone(office: Office) -> None:
    office.gitlab.jobs = [PendingJob(number, PROJECT, frozenset({"gpu"})) for number in (1, 2)]
    await office.poll()
    office.gitlab.jobs += [PendingJob(number, PROJECT, frozenset({"gpu"})) for number in (3, 4)]
    office.gitlab.longest_list = 2
    await office.poll()
    demand = office.source.compute_demand(office.source.pools[GPU].traits)
    assert [waiting.job.id for waiting in demand.jobs] == [1, 2, 3, 4]
    assert (demand.closed, demand.reason, demand.message) == (frozenset(), "Polled", "2 jobs are listed at once")
    office.gitlab.longest_list = None
    office.gitlab.jobs = office.gitlab.jobs[1:]
    await office.poll()
    demand = office.source.compute_demand(office.source.pools[GPU].traits)
    assert [waiting.job.id for waiting in demand.jobs] == [2, 3, 4]
    assert (demand.closed, demand.message) == (None, "")


async def test_a_source_lives_as_long_as_a_pool_looks_at_it() -> None:
    clients: dict[str, FakeGitLab] = {}

    def connect(token: str) -> FakeGitLab:
        return clients.setdefault(token, FakeGitLab())

    shared = Sources(lambda: datetime(2026, 3, 2, tzinfo=UTC), lambda _: None)
    old, new = (SourceKey("http://gitlab.example", SCOPE, token, "") for token in ("old", "new"))
    first = await shared.use(CPU, old, lambda: connect("old"))
    assert await shared.use(GPU, old, lambda: connect("another")) is first
    for pool in (CPU, GPU):
        first.pools[pool] = Interest(RunnerTraits(SCOPE, frozenset(), True, False), 60)
    assert await shared.use(CPU, new, lambda: connect("new")) is not first  # its token was rotated
    assert shared.get_source(GPU) is first
    assert set(first.pools) == {GPU}
    assert not clients["old"].closed
    await shared.leave(GPU)
    assert clients["old"].closed
    assert shared.get_source(GPU) is None
    assert set(clients) == {"old", "new"}
    await shared.close()
    assert clients["new"].closed


def test_a_job_is_missed_by_webhooks_when_only_polls_speak_of_it() -> None:
    announcements, now = Announcements(), datetime(2026, 3, 2, tzinfo=UTC)
    late, heard, missed = (PendingJob(number, PROJECT, frozenset()) for number in (1, 2, 3))
    announcements.put_webhook(2, ProjectRef(PROJECT), now)
    announcements.put_poll([late, heard], now)
    announcements.put_webhook(
        1, ProjectRef(PROJECT), now + timedelta(seconds=9)
    )  # overtaken by the poll that another brought about
    assert announcements.find_missed(now + timedelta(minutes=9)) is None
    announcements.put_poll([missed], now)
    assert announcements.find_missed(now + timedelta(seconds=9)) is None
    assert announcements.find_missed(now + timedelta(seconds=10)) == missed
    announcements.put_webhook(9, ProjectRef("hpc/other"), now)
    assert announcements.find_missed(now + timedelta(seconds=10)) == missed
    announcements.put_webhook(9, ProjectRef(PROJECT), now)
    assert announcements.find_missed(now + timedelta(seconds=10)) is None


async def test_that_gitlab_is_away_and_back_is_told_to_all(office: Office) -> None:
    await office.poll()
    office.gitlab.error = GitLabUnavailable("gone")
    assert await office.poll() == {CPU, GPU}
    office.gitlab.error = None
    assert await office.poll() == {CPU, GPU}


async def test_what_a_webhook_says_of_a_job_is_told_to_the_pools_that_take_it(office: Office) -> None:
    office.gitlab.jobs.append(PendingJob(1, PROJECT, frozenset({"cpu"})))
    await office.poll()
    office.gitlab.calls.clear()
    assert await office.hear(JobHook(PROJECT, 1, "running")) == {CPU}
    assert office.source.board.list_jobs() == []
    assert await office.hear(JobHook(PROJECT, 1, "success")) == set()
    assert office.gitlab.calls == []


def a_job(number: int, tag: str, name: str = "build", ref: str = "main") -> PendingJob:
    return PendingJob(number, PROJECT, frozenset({tag}), ref, name=name)


def its_hook(number: int, name: str = "build", ref: str = "main", status: str = "pending") -> JobHook:
    return JobHook(PROJECT, number, status, name, ref)


@pytest.fixture
async def seasoned(office: Office) -> Office:
    """Return a source that has listed a job of the name build on main, which is over."""
    office.gitlab.jobs.append(a_job(1, "cpu"))
    await office.poll()
    office.gitlab.jobs.clear()
    await office.hear(its_hook(1, status="success"))
    office.gitlab.calls.clear()
    return office


async def test_a_job_of_a_name_that_was_listed_before_is_known_by_its_webhook_alone(seasoned: Office) -> None:
    assert await seasoned.hear(its_hook(2)) == {CPU}
    assert [waiting.job for waiting in seasoned.source.board.list_jobs()] == [a_job(2, "cpu")]
    assert seasoned.gitlab.calls == []


@pytest.mark.parametrize(
    "hook",
    [
        its_hook(2, name="test"),
        its_hook(2, ref="feature"),
        JobHook(PROJECT, 2, "pending", "build", "main", by_tag=True),
        JobHook("hpc/other", 2, "pending", "build", "main"),
    ],
)
async def test_a_job_of_another_name_project_or_ref_is_listed(seasoned: Office, hook: JobHook) -> None:
    seasoned.gitlab.jobs.append(a_job(2, "gpu"))
    assert await seasoned.hear(hook) == {GPU}
    assert seasoned.gitlab.calls == ["list_pending_jobs"]


async def test_a_job_that_no_pod_took_when_it_was_listed_is_listed_again(seasoned: Office) -> None:
    """No component would learn otherwise that its tags have changed."""
    seasoned.gitlab.jobs.append(a_job(2, "tpu", name="train"))
    await seasoned.poll()
    seasoned.gitlab.jobs[:] = [a_job(3, "gpu", name="train")]
    seasoned.gitlab.calls.clear()
    assert await seasoned.hear(its_hook(3, name="train")) == {GPU}
    assert seasoned.gitlab.calls == ["list_pending_jobs"]


async def test_a_webhook_that_was_overtaken_by_the_jobs_end_brings_nothing_back(seasoned: Office) -> None:
    await seasoned.hear(its_hook(2, status="running"))
    assert await seasoned.hear(its_hook(2)) == set()
    assert seasoned.source.board.list_jobs() == []
    assert seasoned.gitlab.calls == ["list_pending_jobs"]  # to be sure


async def test_what_was_listed_of_a_job_is_not_replaced_by_what_its_name_recalls(seasoned: Office) -> None:
    seasoned.gitlab.jobs += [a_job(2, "gpu")]
    await seasoned.poll()
    seasoned.gitlab.jobs[:] = [a_job(3, "cpu")]
    await seasoned.poll()  # the latest of the name
    seasoned.source.board.put_job(a_job(2, "gpu"), seasoned.clock[0])
    await seasoned.hear(its_hook(2))
    assert [waiting.job for waiting in seasoned.source.board.list_jobs()] == [a_job(2, "gpu"), a_job(3, "cpu")]


async def test_a_name_that_several_jobs_have_with_different_tags_recalls_nothing(seasoned: Office) -> None:
    seasoned.gitlab.jobs += [a_job(2, "gpu"), a_job(3, "cpu"), a_job(4, "gpu")]
    await seasoned.poll()
    seasoned.gitlab.calls.clear()
    await seasoned.hear(its_hook(5))
    assert seasoned.gitlab.calls == ["list_pending_jobs"]


def test_names_that_were_not_listed_for_the_longest_time_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recollection, "MOST_JOBS", 2)
    memory = Recollection()
    memory.put_poll([a_job(1, "cpu", name="one"), a_job(2, "cpu", name="two")])
    memory.put_poll([a_job(3, "cpu", name="one"), a_job(4, "cpu", name="three"), PendingJob(5, PROJECT, frozenset())])
    recalled = [memory.recall(its_hook(9, name=name)) for name in ("one", "two", "three", "")]
    assert recalled == [a_job(9, "cpu", name="one"), None, a_job(9, "cpu", name="three"), None]


async def test_an_unexpected_error_is_reported_and_does_not_end_the_polls(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TypeError("odd")

    with monkeypatch.context() as patch:
        patch.setattr(office.source.board, "put_poll", fail)
        assert await office.poll() == {CPU, GPU}
        office.clock[0] += timedelta(seconds=sources.PATIENCE_SECONDS + 1)
        demand = office.source.compute_demand(RunnerTraits(SCOPE, frozenset({"gpu"}), False, False))
        assert (demand.known, demand.reason) == (False, "InternalError")
        assert "TypeError: odd" in caplog.text
    office.gitlab.jobs.append(PendingJob(1, PROJECT, frozenset({"gpu"})))
    await office.poll()
    assert office.source.compute_demand(RunnerTraits(SCOPE, frozenset({"gpu"}), False, False)).known


async def test_that_gitlab_is_away_is_said_within_minutes_however_seldom_it_is_asked(office: Office) -> None:
    traits = RunnerTraits(SCOPE, frozenset({"gpu"}), False, False)
    await office.poll()
    office.clock[0] += timedelta(hours=1)
    office.gitlab.error = GitLabUnavailable("gone")
    await office.poll()
    assert office.source.compute_demand(traits).known, "it may just be restarting"
    office.clock[0] += timedelta(seconds=sources.PATIENCE_SECONDS + 1)
    demand = office.source.compute_demand(traits)
    assert (demand.known, demand.reason) == (False, "GitLabUnavailable")
    assert "not known since 2026-03-02T00:00:00" in demand.message
    office.gitlab.error = None
    await office.poll()
    assert office.source.compute_demand(traits).known


async def test_a_gitlab_that_is_back_is_found_within_a_minute_however_seldom_it_is_asked(office: Office) -> None:
    assert office.source.compute_back_off(Retry("Away", "away"), failures=30) <= sources.LONGEST_BACK_OFF_SECONDS
    assert office.source.compute_back_off(Retry("RateLimited", "wait", after=600), failures=1) == 600


@pytest.mark.parametrize("turns", range(6))
async def test_a_source_that_is_left_just_when_it_hears_of_a_job_ends(office: Office, turns: int) -> None:
    assert await office.poll() == {CPU, GPU}
    office.source.nudge()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await office.source.close()


async def test_the_end_of_the_access_token_is_foretold_a_week_ahead(office: Office) -> None:
    traits = office.source.pools[CPU].traits

    async def look() -> tuple[bool, str]:
        await office.poll()
        demand = office.source.compute_demand(traits)
        return demand.known, demand.reason

    office.gitlab.access_ends = office.clock[0] + timedelta(days=8)
    assert await look() == (True, "Polled")
    office.clock[0] += timedelta(days=1)
    assert await look() == (True, "AccessTokenExpires")
    assert "2026-03-10T00:00+00:00" in office.source.compute_demand(traits).message
    office.gitlab.access_ends = None  # another token has taken its place
    office.clock[0] += timedelta(hours=6)
    assert await look() == (True, "Polled")
    assert office.gitlab.calls.count("get_expiry") == 3


async def test_a_gitlab_that_does_not_say_when_the_token_ends_is_polled_all_the_same(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> None:
        raise GitLabRefused("403 Forbidden")

    monkeypatch.setattr(office.gitlab, "get_expiry", refuse)
    await office.poll()
    demand = office.source.compute_demand(office.source.pools[CPU].traits)
    assert (demand.known, demand.reason) == (True, "Polled")


ONE, SAME, OTHER = ProjectRef("hpc/one", 7), ProjectRef("HPC/renamed", 7), ProjectRef("hpc/one", 8)


@pytest.mark.parametrize(
    ("polled", "heard", "clears"),
    [
        (ONE, SAME, True),
        (ONE, OTHER, False),
        (ONE, ProjectRef("Hpc/One"), True),
        (ProjectRef("hpc/one"), ProjectRef("HPC/ONE", 7), True),
        (ProjectRef("hpc/one"), ProjectRef("hpc/two", 7), False),
        (ONE, ProjectRef("hpc/two"), False),
        (ONE, ProjectRef(""), True),
    ],
)
def test_a_webhook_is_of_the_project_whose_number_it_has_whatever_its_path_is_by_now(
    polled: ProjectRef, heard: ProjectRef, clears: bool
) -> None:
    announcements, now = Announcements(), datetime(2026, 3, 2, tzinfo=UTC)
    job = PendingJob(1, polled.path, frozenset(), project_id=polled.id)
    announcements.put_poll([job], now)
    announcements.put_webhook(2, heard, now)
    assert announcements.find_missed(now + timedelta(minutes=1)) == (None if clears else job)


def test_a_missed_job_is_told_for_a_day_and_no_memory_grows_with_projects() -> None:
    announcements, now = Announcements(), datetime(2026, 3, 2, tzinfo=UTC)
    announcements.put_poll([PendingJob(n, f"hpc/p{n}", frozenset()) for n in range(5000)], now)
    assert announcements.find_missed(now + timedelta(hours=23)) is not None
    assert announcements.find_missed(now + timedelta(hours=25)) is None


def test_a_job_of_a_renamed_project_is_known_by_its_projects_number() -> None:
    memory = Recollection()
    memory.put_poll([PendingJob(1, "hpc/old", frozenset({"cpu"}), ref="main", name="train", project_id=7)])
    for path, number, known in (
        ("hpc/new", 7, True),
        ("HPC/Old", 7, True),
        ("hpc/old", 8, False),
        ("hpc/old", None, False),
    ):
        job = memory.recall(JobHook(path, 9, "pending", "train", "main", project_id=number))
        assert (job is not None) is known, (path, number)
    memory.put_poll([PendingJob(1, "hpc/plain", frozenset({"cpu"}), ref="main", name="train")])
    assert memory.recall(JobHook("Hpc/Plain", 9, "pending", "train", "main", project_id=3)) is not None


async def test_webhooks_of_a_project_that_was_renamed_and_written_in_another_case_are_no_silence(
    office: Office,
) -> None:
    """GitLab lists its jobs under the old path still, and sends the new one."""
    office.source.pools[GPU] = replace(office.source.pools[GPU], webhook=True)
    await office.poll()
    office.gitlab.jobs.append(PendingJob(1, PROJECT, frozenset({"gpu"}), name="train", project_id=7))
    await office.poll()
    office.clock[0] += timedelta(minutes=1)
    assert office.source.compute_demand(office.source.pools[GPU].traits).reason == "WebhookSilent"
    await office.hear(JobHook("HPC/Renamed", 1, "pending", "train", project_id=7))
    assert office.source.compute_demand(office.source.pools[GPU].traits).reason == "Polled"


async def test_a_hint_is_kept_until_a_poll_has_listed_it(office: Office) -> None:
    await office.poll()
    office.gitlab.longest_list = 0
    office.gitlab.jobs = [PendingJob(number, PROJECT, frozenset({"gpu"}), name="x") for number in (1, 2)]
    office.gitlab.error = GitLabUnavailable("gone")
    await office.hear(JobHook(PROJECT.upper(), 1, "pending", "x"))
    office.gitlab.error = None
    await office.poll()
    demand = office.source.compute_demand(office.source.pools[GPU].traits)
    assert [waiting.job.id for waiting in demand.jobs] == [1, 2]

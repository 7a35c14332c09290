"""GitLab fails in any order: no status says more than is known, no job is made up, no runner is left; all recovers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.api.wellknown import JOB_ANNOTATION
from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import (
    AccessTokenRefused,
    GitLabNotFound,
    GitLabRefused,
    GitLabRejected,
    GitLabUnavailable,
    PendingJob,
    RateLimited,
)
from bessemer.kinds.runnerpool.demand import sources
from bessemer.kinds.runnerpool.demand.sources import PATIENCE_SECONDS, Source
from bessemer.kinds.runnerpool.runner.known import LASTING_SECONDS, VERIFY_SECONDS, WATCHED_CHECK_SECONDS
from tests.fakes.gitlab import FakeGitLab
from tests.support.examples import examples
from tests.support.pool_world import KEY, PROJECT, PoolWorld, open_pool_world

CALLS = ("list_pending_jobs", "create_runner", "list_runners", "update_runner", "rotate_runner", "delete_runner",
         "verify_runner", "delete_manager", "get_expiry")  # fmt: skip
ERRORS = (
    GitLabUnavailable("no answer: Connection refused"),
    GitLabUnavailable("503", after=40),
    RateLimited("too many", after=70),
    GitLabRefused("403 Forbidden"),
    AccessTokenRefused("the access token has expired"),
    GitLabNotFound("project is not there"),
    GitLabRejected("400"),
)
STEP = st.tuples(
    st.dictionaries(st.sampled_from(CALLS), st.sampled_from(ERRORS), max_size=4),
    st.sampled_from([1, 30, 200, 400, 3700]),
)


@dataclass
class ChaoticGitLab(FakeGitLab):
    """One that fails by the name of the call, and knows when each went well last."""

    failing: dict[str, BessemerError] = field(default_factory=dict)
    went_well: dict[str, datetime] = field(default_factory=dict)
    clock: list[datetime] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)
    """The numbers of jobs that a list had."""

    def _call(self, name: str) -> None:
        super()._call(name)
        if name in self.failing:
            raise self.failing[name]
        self.went_well[name] = self.clock[0]
        if name == "list_pending_jobs":
            self.shown |= {str(job.id) for job in self.jobs}

    def compute_age(self, *names: str) -> timedelta:
        """Return how long ago any of these calls went well."""
        return min(
            self.clock[0] - self.went_well.get(name, datetime.min.replace(tzinfo=self.clock[0].tzinfo))
            for name in names
        )


async def look(world: PoolWorld) -> None:
    source = world.deps.sources.get_source(KEY)
    if source is not None:
        source.nudge()  # the interval of polls goes by in real time
    try:
        await world.step()
        await world.step()
    except BessemerError:
        return  # is repeated, and counted


def check_status(world: PoolWorld, gitlab: ChaoticGitLab) -> None:
    conditions = {one["type"]: one for one in world.status().get("conditions", ())}
    if conditions.get("DemandKnown", {}).get("status") == "True":
        assert gitlab.compute_age("list_pending_jobs") <= timedelta(seconds=PATIENCE_SECONDS + 3700)
    registered = conditions.get("RunnerRegistered", {})
    if registered.get("status") == "True" and not registered.get("message"):
        patience = VERIFY_SECONDS + LASTING_SECONDS + WATCHED_CHECK_SECONDS + 3700
        assert gitlab.compute_age("verify_runner", "create_runner", "rotate_runner") <= timedelta(seconds=patience)
    if conditions.get("Ready", {}).get("status") == "True":
        assert registered["status"] == "True"
    sent = {pod["metadata"]["annotations"].get(JOB_ANNOTATION) for pod in world.pods().values()}
    assert sent <= gitlab.shown | {None, "any"}


async def run_chaos(runner: dict[str, Any], steps: list[tuple[dict[str, BessemerError], int]]) -> None:
    async with open_pool_world() as world:
        gitlab = ChaoticGitLab(runners={} if "managed" in runner else dict(world.gitlab.runners), clock=world.clock)
        world.gitlab = gitlab
        await world.apply(runner=runner, max=5)
        await look(world)
        for number, (failing, seconds) in enumerate(steps):
            gitlab.failing = failing
            gitlab.jobs.append(PendingJob(100 + number, PROJECT, frozenset({"hpc"})))
            world.pass_time(seconds)
            await look(world)
            check_status(world, gitlab)
            assert len(world.pods()) <= 5
        gitlab.failing = {}
        for _ in range(8):
            world.pass_time(VERIFY_SECONDS)
            await look(world)
        ready = {type_: world.condition(type_)[0] for type_ in ("RunnerRegistered", "DemandKnown")}
        assert ready == {"RunnerRegistered": "True", "DemandKnown": "True"}
        assert len(gitlab.runners) == 1
        assert gitlab.calls.count("rotate_runner") == 0, "no error of GitLab's is a refusal of the token"


@pytest.mark.parametrize(
    "runner",
    [{"managed": {}, "tags": ["hpc"]}, {"tokenSecret": {"name": "runner"}, "tags": ["hpc"]}],
    ids=["managed", "given"],
)
@settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEP, max_size=6))
def test_no_status_says_more_than_is_known(
    runner: dict[str, Any], steps: list[tuple[dict[str, BessemerError], int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "SPACING_SECONDS", 0.0)
        patch.setattr(Source, "compute_back_off", lambda *_: 0.0)
        asyncio.run(run_chaos(runner, steps))

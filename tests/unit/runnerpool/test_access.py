"""An access token that GitLab refuses: what becomes of the pool's jobs and pods, and what is said."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from bessemer.gitlab.protocol import GitLabNotFound, GitLabRefused, PendingJobs, ProjectRef, Scope
from bessemer.runnerpool import sources
from bessemer.runnerpool.facts import ANY_JOB
from bessemer.wellknown import JOB_ANNOTATION
from tests.support.pool_world import PoolWorld

MANAGED = {"managed": {}, "tags": ["hpc"]}
REFUSAL = "403 Forbidden: the token needs the scope read_api"


class ListRefused:
    """Has GitLab refuse to list jobs, and nothing else, while it is on."""

    def __init__(self, world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: GitLabRefused | GitLabNotFound | None = GitLabRefused(REFUSAL)
        self._list = world.gitlab.list_pending_jobs
        monkeypatch.setattr(world.gitlab, "list_pending_jobs", self._answer)

    async def _answer(
        self, scope: Scope, *, with_protected: bool = False, hints: Collection[ProjectRef] = ()
    ) -> PendingJobs:
        if self.error is not None:
            raise self.error
        return await self._list(scope, with_protected=with_protected, hints=hints)


@pytest.fixture
def world(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> PoolWorld:
    monkeypatch.setattr(sources, "FIRST_BACK_OFF_SECONDS", 0.0)
    return world


def list_jobs(world: PoolWorld) -> list[str | None]:
    """List what the pods were sent for."""
    return [pod["metadata"]["annotations"].get(JOB_ANNOTATION) for pod in world.pods().values()]


def explain(world: PoolWorld, type_: str) -> str:
    """Give the message of a condition."""
    return str(next(one for one in world.status()["conditions"] if one["type"] == type_)["message"])


async def test_of_a_refused_token_min_runners_ask_for_themselves_and_the_field_is_named(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ListRefused(world, monkeypatch)
    await world.apply(min=2)
    world.queue(1, 2, 3, 4)
    await world.settle()
    assert world.condition("DemandKnown") == ("False", "GitLabRefused")
    assert explain(world, "DemandKnown") == f"spec.gitlab.apiTokenSecret: {REFUSAL}"
    assert world.condition("Ready") == ("True", "DemandUnknown")
    assert REFUSAL in explain(world, "Ready")
    assert world.condition("RunnerRegistered") == ("True", "Registered")
    assert list_jobs(world) == [ANY_JOB, ANY_JOB]
    assert world.events("GitLabRefused") == [f"DemandKnown: spec.gitlab.apiTokenSecret: {REFUSAL}"]


async def test_of_a_hidden_project_the_scope_is_named(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ListRefused(world, monkeypatch).error = GitLabNotFound("404 Project Not Found")
    await world.apply()
    await world.settle()
    assert world.condition("DemandKnown") == ("False", "GitLabNotFound")
    assert explain(world, "DemandKnown") == "spec.gitlab.scope: 404 Project Not Found"


async def test_a_pod_that_asked_for_itself_is_replaced_while_the_token_is_refused(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ListRefused(world, monkeypatch)
    await world.apply(min=1)
    await world.settle()
    world.start_pods()
    await world.settle()
    (first,) = world.pods()
    world.end_pod(first, 9)
    await world.settle()
    assert list_jobs(world) == [ANY_JOB]
    assert len([name for kind, name in world.kubernetes.created if kind == "pods"]) == 2


async def test_without_min_a_pool_of_a_refused_token_has_no_pods_and_says_that_nobody_asks(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ListRefused(world, monkeypatch)
    await world.apply()
    world.queue(1)
    await world.settle()
    assert world.pods() == {}
    assert world.condition("Ready") == ("False", world.condition("DemandKnown")[1])


async def test_another_token_that_may_is_taken_up_and_pods_are_sent_for_jobs_again(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = ListRefused(world, monkeypatch)
    await world.apply()
    world.queue(1)
    await world.settle()
    refused.error = None
    await world.put_secret("gitlab", "glpat-that-may")
    await world.settle()
    assert world.condition("DemandKnown") == ("True", "Polled")
    assert world.condition("Ready") == ("True", "Serving")
    assert list_jobs(world) == ["1"]


async def test_a_token_that_is_revoked_later_costs_no_known_job_and_is_said_after_a_while(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = ListRefused(world, monkeypatch)
    refused.error = None
    await world.apply(min=1)
    await world.settle()
    world.start_pods()
    await world.settle()
    refused.error = GitLabRefused("401 Unauthorized")
    world.queue()
    await world.settle()
    assert world.condition("DemandKnown") == ("True", "Polled")
    assert list_jobs(world) == [None]
    world.pass_time(sources.PATIENCE_SECONDS + 1)
    await world.settle()
    assert world.condition("DemandKnown") == ("False", "GitLabRefused")
    assert list_jobs(world) == [ANY_JOB]


async def test_a_runner_of_ours_can_not_be_made_with_a_refused_token_and_the_pool_is_not_ready(
    world: PoolWorld,
) -> None:
    del world.gitlab.runners[1]
    world.gitlab.error = GitLabRefused("403 Forbidden: the token needs the scope create_runner")
    await world.apply(runner=MANAGED)
    world.queue(1)
    await world.settle()
    assert world.condition("RunnerRegistered") == ("False", "GitLabRefused")
    assert world.condition("Ready") == ("False", "GitLabRefused")
    assert explain(world, "Ready").startswith("spec.gitlab.apiTokenSecret: 403 Forbidden")
    assert world.pods() == {}
    world.gitlab.error = None
    world.pass_time(6)
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")
    assert list_jobs(world) == ["1"]

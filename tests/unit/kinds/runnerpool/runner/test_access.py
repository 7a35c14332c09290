"""An access token that GitLab refuses: what becomes of the pool's jobs and pods, and what is said."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from bessemer.api.wellknown import JOB_ANNOTATION
from bessemer.gitlab.address import parse_hosts
from bessemer.gitlab.client import GitLabConnector
from bessemer.gitlab.protocol import GitLabNotFound, GitLabRefused, GitLabUnavailable, PendingJobs, ProjectRef, Scope
from bessemer.kinds.runnerpool.demand import sources
from bessemer.kinds.runnerpool.facts import ANY_JOB
from tests.support.pool_world import KEY, PoolWorld, manifest

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
    """Return the message of a condition."""
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


async def test_without_min_a_pool_of_a_refused_token_has_no_pods_and_says_that_none_asks(
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


async def test_a_runner_can_not_be_created_with_a_refused_token_and_the_pool_is_not_ready(
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


async def apply_real(world: PoolWorld, allowed: str = "", **gitlab: Any) -> dict[str, dict[str, Any]]:
    """Have the pool use the real client, which sends nothing here; return the conditions by their types."""
    connector = GitLabConnector(parse_hosts(allowed))
    # What the client itself refuses is seen only where the Secrets may go there.
    await world.change_settings(secrets_name_hosts=0)
    world.deps.gitlab_clients.connect = connector.connect
    await world.apply(gitlab=manifest()["spec"]["gitlab"] | gitlab)
    await world.settle()
    return {one["type"]: one for one in world.status()["conditions"]}


async def test_a_gitlab_on_a_host_that_is_not_allowed_is_never_asked_and_the_field_is_named(world: PoolWorld) -> None:
    conditions = await apply_real(world, allowed="gitlab.example.com,*.corp.example", url="http://127.0.0.1:1")
    for type_ in ("Ready", "RunnerRegistered", "DemandKnown"):
        assert (conditions[type_]["status"], conditions[type_]["reason"]) == ("False", "HostNotAllowed")
        assert "spec.gitlab.url: 127.0.0.1 is not among the hosts" in conditions[type_]["message"]
    assert world.pods() == {}
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.settle()
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("gitlab", "glpat-one\nglpat-two", "spec.gitlab.apiTokenSecret"),
        ("gitlab", "glpat-ünïcode", "spec.gitlab.apiTokenSecret"),
        ("runner", "glrt-one glrt-two", "spec.runner.tokenSecret"),
    ],
)
async def test_a_secret_that_holds_no_token_is_named_and_not_shown(
    world: PoolWorld, name: str, value: str, field: str
) -> None:
    await world.apply()
    await world.put_secret(name, value)
    conditions = await apply_real(world, url="http://127.0.0.1:1")
    registered = conditions["RunnerRegistered"]
    assert (registered["status"], registered["reason"]) == ("False", "SecretBroken")
    assert field in registered["message"]
    assert "can't be a token" in registered["message"]
    assert not any(word in str(world.status()) for word in ("glpat", "glrt"))


@pytest.mark.parametrize("url", ["http://gitlab:99999", "https://gitlab.example/api/v4"])
async def test_a_url_that_an_older_schema_let_in_is_named(world: PoolWorld, url: str) -> None:
    conditions = await apply_real(world, url=url)
    assert conditions["Ready"]["reason"] == "InvalidSpec"
    assert conditions["Ready"]["message"].startswith("spec.gitlab.url: ")


async def test_a_gitlab_that_is_away_for_longer_is_said_beside_what_was_known(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    assert world.condition("RunnerRegistered") == ("True", "Registered")
    world.gitlab.error = GitLabUnavailable("no answer: Connection refused")
    world.pass_time(3700)
    await world.settle()
    (registered,) = [one for one in world.status()["conditions"] if one["type"] == "RunnerRegistered"]
    assert registered["status"] == "True"
    assert registered["message"] == "as it was at 2026-03-02T06:00+00:00; since then: no answer: Connection refused"
    world.gitlab.error = None
    world.pass_time(3700)
    await world.settle()
    (registered,) = [one for one in world.status()["conditions"] if one["type"] == "RunnerRegistered"]
    assert registered.get("message", "") == ""

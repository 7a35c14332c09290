"""Our runners in GitLab: none is created in vain, and none is left behind without a message."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import GitLabNotFound, GitLabRefused, GitLabUnavailable, Identity, Scope, ScopeType
from bessemer.kinds.runnerpool.demand import sources
from bessemer.kinds.runnerpool.runner.webhooks import get_webhook_access
from bessemer.kube.protocol import Kind, Object, Refused
from tests.fakes.gitlab import FakeGitLab, FakeRunner
from tests.support.pool_world import KEY, REQUEST, PoolWorld, manifest, open_pool_world

MANAGED = {"managed": {}, "tags": ["hpc"]}
SLURM = {
    "type": "Slurm",
    "slurm": {
        "clusterRef": {"name": "oxygen"},
        "user": "ci",
        "identitySecret": {"name": "runner"},
        "buildsDirectory": "/home/ci/builds",
    },
}
GITLAB = manifest()["spec"]["gitlab"]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PoolWorld]:
    monkeypatch.setattr(sources, "SPACING_SECONDS", 0.0)
    async with open_pool_world() as world:
        del world.gitlab.runners[1]
        yield world


async def settle_in(world: PoolWorld, seconds: int) -> None:
    """Let time go by, with a pass every five seconds."""
    for _ in range(seconds // 5):
        world.pass_time(5)
        await world.step()


async def apply_managed(world: PoolWorld, **spec: Any) -> None:
    await world.apply(runner=MANAGED, **spec)
    await world.settle()


async def test_no_runner_is_created_for_a_pool_that_could_not_use_it(world: PoolWorld) -> None:
    await apply_managed(world, executor=SLURM)
    await settle_in(world, 30)
    assert world.condition("RunnerRegistered") == ("False", "ClusterMissing")
    assert "create_runner" not in world.gitlab.calls


async def test_no_token_is_rotated_for_a_pool_that_could_not_use_it(world: PoolWorld) -> None:
    world.gitlab.expires_at = world.clock[0] + timedelta(hours=30)
    await apply_managed(world)
    world.deps.memories.forget(KEY)  # another operator
    world.pass_time(7 * 3600)
    await world.apply(runner=MANAGED, executor=SLURM)
    await world.settle()
    await settle_in(world, 30)
    assert world.condition("RunnerRegistered") == ("False", "ClusterMissing")
    assert "rotate_runner" not in world.gitlab.calls


async def test_a_token_that_lives_shorter_than_it_would_be_rotated_before_is_rotated_at_half_of_its_life(
    world: PoolWorld,
) -> None:
    lifetime = timedelta(hours=2)
    world.gitlab.expires_at = world.clock[0] + lifetime
    await apply_managed(world)
    await settle_in(world, 300)
    assert "rotate_runner" not in world.gitlab.calls
    world.pass_time(3600)
    world.gitlab.expires_at = world.clock[0] + lifetime
    await settle_in(world, 300)
    assert world.gitlab.calls.count("rotate_runner") == 1


async def test_no_runner_is_created_while_its_token_could_not_be_written_down(world: PoolWorld) -> None:
    def refuse(kind: Kind, body: Object) -> Refused | None:
        own = kind.plural == "secrets" and body["metadata"]["name"] == "lab-runner"
        return Refused("QuotaExceeded", "exceeded quota: few, requested: count/secrets=1") if own else None

    world.kubernetes.refuse = refuse
    await apply_managed(world)
    await settle_in(world, 30)
    assert world.condition("RunnerRegistered") == ("False", "QuotaExceeded")
    assert world.gitlab.runners == {}
    assert "create_runner" not in world.gitlab.calls


async def test_a_runner_moves_with_the_scope_of_its_pool(world: PoolWorld) -> None:
    await apply_managed(world)
    await apply_managed(world, gitlab=GITLAB | {"scope": {"type": "Group", "path": "hpc"}})
    (runner,) = world.gitlab.runners.values()
    assert runner.request.scope == Scope(ScopeType.GROUP, "hpc")
    assert world.condition("Ready") == ("True", "Serving")
    assert world.events("RunnerLeft") == []


async def test_a_runner_is_kept_when_its_project_was_renamed(world: PoolWorld) -> None:
    await apply_managed(world)
    (runner,) = world.gitlab.runners.values()
    runner.request = replace(runner.request, scope=Scope(ScopeType.PROJECT, "hpc/renamed"))
    await apply_managed(world, gitlab=GITLAB | {"scope": {"type": "Project", "path": "hpc/renamed"}})
    assert world.gitlab.runners == {runner.id: runner}
    assert world.gitlab.calls.count("create_runner") == 1


async def test_a_runner_in_a_gitlab_that_the_pool_has_left_is_said_to_be_left_there(world: PoolWorld) -> None:
    world.others["http://new.example"] = new = FakeGitLab()
    await apply_managed(world)
    calls = len(world.gitlab.calls)
    await apply_managed(world, gitlab=GITLAB | {"url": "http://new.example"})
    await settle_in(world, 30)
    assert len(new.runners) == 1
    (message,) = world.events("RunnerLeft")
    assert "http://gitlab.example" in message
    assert "delete_runner" not in world.gitlab.calls[calls:], "the new access token was shown to the old GitLab"


async def test_a_pool_that_is_given_a_runner_deletes_its_own(world: PoolWorld) -> None:
    await apply_managed(world)
    given = world.gitlab.runners[2] = FakeRunner(2, REQUEST, "glrt-given")
    await world.apply(runner={"managed": None, "tokenSecret": {"name": "runner"}, "tags": ["hpc"]})
    await world.settle()
    assert world.gitlab.runners == {2: given}
    assert world.condition("Ready") == ("True", "Serving")


@pytest.mark.parametrize("forgotten", [False, True], ids=["known", "operator restarted"])
async def test_a_pool_whose_spec_went_wrong_takes_its_runner_along_when_it_is_deleted(
    world: PoolWorld, forgotten: bool
) -> None:
    await apply_managed(world)
    schedule = {"name": "day", "start": "0 7 * * *", "durationSeconds": 3600, "timeZone": "Mars/Olympus", "min": 1}
    await apply_managed(world, schedules=[schedule])
    assert world.condition("Ready") == ("False", "InvalidSpec")
    if forgotten:
        world.deps.memories.forget(KEY)
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.settle()
    assert world.gitlab.runners == {}
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


@pytest.mark.parametrize("wrong", ["token", "no token", "url"])
async def test_a_pool_that_never_had_a_runner_goes_at_once(world: PoolWorld, wrong: str) -> None:
    await world.apply(runner=MANAGED)
    if wrong == "token":
        world.gitlab.error = GitLabRefused("403 Forbidden")
    elif wrong == "url":
        world.gitlab.error = GitLabUnavailable("no answer: Connection refused")
    else:
        del world.kubernetes.objects["secrets", KEY[0], "gitlab"]
    await world.settle()
    assert world.condition("Ready")[0] == "False"
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.settle()
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


async def test_a_pool_that_may_have_had_a_runner_waits_for_gitlab(world: PoolWorld) -> None:
    """Here the operator was restarted, and all that it had recorded was deleted with the namespace."""
    await apply_managed(world)
    world.gitlab.error = GitLabUnavailable("no answer: Connection refused")
    del world.kubernetes.objects["secrets", KEY[0], "lab-runner"]
    world.deps.memories.forget(KEY)
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.settle()
    assert ("runnerpools", *KEY) in world.kubernetes.objects
    world.gitlab.error = None
    await world.settle()
    assert world.gitlab.runners == {}
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


async def test_a_runner_that_can_not_be_deleted_as_the_spec_says_no_gitlab_is_said_to_be_left(world: PoolWorld) -> None:
    await apply_managed(world)
    world.kubernetes.edit("runnerpools", *KEY, {"spec": {"gitlab": {"url": "gitlab"}}})
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.step()
    assert ("runnerpools", *KEY) in world.kubernetes.objects
    world.pass_time(world.deps.settings.deletion_seconds + 1)
    await world.step()
    assert ("runnerpools", *KEY) not in world.kubernetes.objects
    (message,) = world.events("RunnerLeft")
    assert "spec.gitlab.url: " in message


async def test_a_runner_of_a_group_that_is_gone_does_not_hold_up_its_pool(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply_managed(world)

    async def list_runners(scope: Scope, marker: str) -> list[int]:
        raise GitLabNotFound(f"{scope} is not there")

    monkeypatch.setattr(world.gitlab, "list_runners", list_runners)
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.settle()
    assert ("runnerpools", *KEY) not in world.kubernetes.objects
    assert world.events("RunnerLeft") == []


async def test_webhooks_are_taken_while_the_cluster_of_a_pool_is_not_there_yet(world: PoolWorld) -> None:
    """GitLab switches a webhook off that is answered with 404 a few times."""
    await apply_managed(world, executor=SLURM)
    access = get_webhook_access(world.deps, KEY)
    assert access is not None
    assert access.webhook_secret == "hook-secret"


async def test_a_token_that_gitlab_refuses_is_replaced_ever_more_rarely_and_each_time_is_an_event(
    world: PoolWorld,
) -> None:
    await apply_managed(world)
    world.gitlab.refuses_tokens = True
    rotated: list[int] = []
    for hour in range(1, 74):
        world.pass_time(3600)
        await world.step()
        rotated += [hour] * (world.gitlab.calls.count("rotate_runner") - len(rotated))
    assert rotated == [1, 2, 4, 8, 16, 32, 56]
    assert len(world.events("TokenRotated")) == len(rotated)
    assert all("as GitLab refused it" in text for text in world.events("TokenRotated"))
    assert world.condition("RunnerRegistered") == ("False", "TokenRefused")


async def test_a_token_that_is_replaced_in_time_is_an_event_with_its_reason(world: PoolWorld) -> None:
    world.gitlab.expires_at = world.clock[0] + timedelta(hours=2)
    await apply_managed(world)
    world.pass_time(3700)
    world.gitlab.expires_at = world.clock[0] + timedelta(hours=2)
    await settle_in(world, 300)
    (text,) = world.events("TokenRotated")
    assert "as it ends at 20" in text
    assert world.condition("RunnerRegistered") == ("True", "Registered")


@pytest.mark.parametrize("error", [GitLabUnavailable("403, not in GitLab's own form"), GitLabRefused("403 Forbidden")])
async def test_what_a_proxy_says_of_a_token_replaces_none(
    world: PoolWorld, error: BessemerError, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply_managed(world)

    async def verify_runner(runner_token: str) -> Identity | None:
        raise error

    monkeypatch.setattr(world.gitlab, "verify_runner", verify_runner)
    for _ in range(6):
        world.pass_time(3600)
        await world.step()
    assert "rotate_runner" not in world.gitlab.calls
    assert world.condition("RunnerRegistered")[1] != "TokenRefused"


BROKEN = {
    "issued-at": "yesterday",
    "runner-id": "abc",
    "expires-at": "2026-03-02T00:00:00",
    "token": None,
    "refusals": "many",
    "url": "",
}


@pytest.mark.parametrize("key", BROKEN)
async def test_a_record_that_was_edited_by_hand_is_named_and_the_pool_can_be_deleted(
    world: PoolWorld, key: str
) -> None:
    await apply_managed(world)
    value = BROKEN[key]
    data = {key: None if value is None else base64.b64encode(value.encode()).decode()}
    world.kubernetes.edit("secrets", KEY[0], "lab-runner", {"data": data})
    world.deps.memories.forget(KEY)  # another operator
    await world.step()
    assert world.condition("RunnerRegistered") == ("False", "SecretBroken")
    (message,) = [one["message"] for one in world.status()["conditions"] if one["type"] == "RunnerRegistered"]
    assert message.startswith(f"Secret lab-runner: key {key} ")
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.settle()
    assert world.gitlab.runners == {}
    assert ("runnerpools", *KEY) not in world.kubernetes.objects

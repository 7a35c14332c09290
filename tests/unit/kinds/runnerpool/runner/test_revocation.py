"""A Secret that goes, is emptied or becomes useless: its value is used no more, at once, and the pool says so."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable

import pytest

from bessemer.errors import Retry
from bessemer.gitlab.protocol import GitLabRefused, GitLabUnavailable, RateLimited
from bessemer.kinds.runnerpool.runner.known import PARTING_TIME
from bessemer.kinds.runnerpool.runner.webhooks import get_webhook_access
from bessemer.kube.protocol import SECRETS, Unavailable
from tests.support.pool_world import HOSTS, KEY, PoolWorld

Change = Callable[[PoolWorld, str], Awaitable[None]]


async def delete(world: PoolWorld, name: str) -> None:
    await world.delete_secret(name)


async def write(world: PoolWorld, name: str, data: dict[str, str | None]) -> None:
    world.kubernetes.edit("secrets", KEY[0], name, {"data": data})
    version = world.kubernetes.objects["secrets", KEY[0], name]["metadata"]["resourceVersion"]
    world.watcher.tell(KEY[0], name, version)


def change_to(value: bytes | None) -> Change:
    async def change(world: PoolWorld, name: str) -> None:
        await write(world, name, {"token": None if value is None else base64.b64encode(value).decode()})

    return change


async def recreate_as_another_type(world: PoolWorld, name: str) -> None:
    await world.delete_secret(name)
    metadata = {"name": name, "annotations": {"bessemer.dev/for": HOSTS}}
    body = {"metadata": metadata, "type": "kubernetes.io/basic-auth", "data": {"password": "eA=="}}
    await world.kubernetes.create_object(SECRETS, KEY[0], body)


CHANGES: dict[str, tuple[Change, str]] = {
    "deleted": (delete, "SecretMissing"),
    "key removed": (change_to(None), "SecretMissing"),
    "of another type": (recreate_as_another_type, "SecretMissing"),
    "emptied": (change_to(b""), "SecretEmpty"),
    "blank": (change_to(b" \n\t"), "SecretEmpty"),
    "two lines": (change_to(b"one\ntwo"), "SecretBroken"),
    "no text": (change_to(b"\xff\xfe"), "SecretBroken"),
    "escape sequence": (change_to(b"\x1b]0;pwned"), "SecretBroken"),
}


@pytest.fixture
async def serving(world: PoolWorld) -> PoolWorld:
    await world.apply()
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")
    world.gitlab.calls.clear()
    return world


@pytest.mark.parametrize("name", ["gitlab", "hook", "runner"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_secret_that_can_not_be_used_is_said_at_once_and_creates_no_pod(
    serving: PoolWorld, change: str, name: str
) -> None:
    apply, reason = CHANGES[change]
    await apply(serving, name)
    await serving.settle(2)
    assert serving.condition("Ready") == ("False", reason)
    assert serving.condition("RunnerRegistered") == ("False", reason)
    message = next(one for one in serving.status()["conditions"] if one["type"] == "Ready")["message"]
    assert f"Secret {name} (spec." in message
    assert "pwned" not in message
    serving.queue(1)
    serving.pass_time(60)
    await serving.settle()
    assert serving.pods() == {}


@pytest.mark.parametrize("change", CHANGES)
async def test_an_access_token_that_is_gone_asks_gitlab_nothing_more(serving: PoolWorld, change: str) -> None:
    await CHANGES[change][0](serving, "gitlab")
    await serving.settle(2)
    serving.gitlab.calls.clear()
    serving.pass_time(3600)
    await serving.settle()
    assert serving.gitlab.calls == []
    assert serving.deps.sources.get_source(KEY) is None
    assert serving.gitlab.closed


@pytest.mark.parametrize("change", CHANGES)
async def test_with_a_webhook_secret_that_is_gone_nothing_is_proven(serving: PoolWorld, change: str) -> None:
    await CHANGES[change][0](serving, "hook")
    await serving.settle(2)
    access = get_webhook_access(serving.deps, KEY)
    assert access is not None, "the pool is known: 401, not 404"
    assert access.webhook_secret is None


@pytest.mark.parametrize("name", ["gitlab", "hook", "runner"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_secret_that_is_there_again_is_used_at_once(serving: PoolWorld, change: str, name: str) -> None:
    await CHANGES[change][0](serving, name)
    await serving.settle(2)
    await serving.put_secret(name, "glrt-given" if name == "runner" else "new")
    await serving.settle()
    assert serving.condition("Ready") == ("True", "Serving")
    serving.queue(1)
    await serving.settle()
    assert len(serving.pods()) == 1


@pytest.mark.parametrize("key", ["whsec_", "whsec_AAAA", "whsec_!"])
async def test_a_signing_key_that_proves_nothing_is_refused_with_the_field(serving: PoolWorld, key: str) -> None:
    await serving.put_secret("hook", key)
    await serving.settle(2)
    assert serving.condition("Ready") == ("False", "SecretBroken")
    access = get_webhook_access(serving.deps, KEY)
    assert access is not None
    assert access.webhook_secret is None


async def test_without_the_authorities_that_are_named_the_token_is_shown_to_no_gitlab(world: PoolWorld) -> None:
    await world.put_secret("ca", "-----BEGIN CERTIFICATE-----")
    gitlab = {"caSecret": {"name": "ca", "key": "token"}}
    raw = {**world_gitlab(), **gitlab}
    await world.apply(gitlab=raw)
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")
    await world.delete_secret("ca")
    await world.settle(2)
    world.gitlab.calls.clear()
    world.pass_time(3600)
    await world.settle()
    assert world.condition("Ready") == ("False", "SecretMissing")
    assert world.gitlab.calls == []


def world_gitlab() -> dict[str, object]:
    return {
        "url": "http://gitlab.example",
        "scope": {"type": "Project", "path": "hpc/simulations"},
        "apiTokenSecret": {"name": "gitlab"},
        "webhookSecret": {"name": "hook"},
    }


@pytest.mark.parametrize(
    "error",
    [
        GitLabUnavailable("503"),
        RateLimited("429", 5),
        Unavailable("ApiUnavailable", "away"),
        Retry("ClusterNotReady", "it is being changed"),
    ],
)
async def test_what_is_away_for_a_while_takes_nothing_away(
    serving: PoolWorld, error: Retry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fail(serving, error, monkeypatch)
    assert serving.condition("Ready") == ("True", "Serving")


@pytest.mark.parametrize(
    "error", [GitLabRefused("403"), Retry("NoIdea", "something else"), Retry("ClusterMissing", "")]
)
async def test_any_other_failure_is_said(serving: PoolWorld, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    await fail(serving, error, monkeypatch)
    assert serving.condition("Ready")[0] == "False"


async def fail(world: PoolWorld, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def raise_it(*_: object) -> None:
        raise error

    monkeypatch.setattr("bessemer.kinds.runnerpool.runner.observe.get_pool_secret", raise_it)
    world.pass_time(3600)
    await world.settle()


MANAGED = {"managed": {}, "tags": ["hpc"]}


@pytest.mark.parametrize(("seconds", "left"), [(5.0, False), (PARTING_TIME.total_seconds() + 1, True)])
async def test_a_pool_that_goes_with_its_secrets_takes_its_runner_along_and_no_other_does(
    world: PoolWorld, seconds: float, left: bool
) -> None:
    """Of a namespace that is deleted, Secrets go before the pools; a token that was taken away long ago is not used."""
    await world.apply(runner=MANAGED)
    await world.settle()
    made = set(world.gitlab.runners) - {1}
    assert len(made) == 1
    await world.delete_secret("gitlab")
    await world.step()
    world.pass_time(seconds)
    deleted = {"deletionTimestamp": world.clock[0].isoformat()}
    world.kubernetes.edit("runnerpools", *KEY, {"metadata": deleted})
    for _ in range(4):
        try:
            await world.step()
        except Retry as error:
            assert error.reason == "SecretMissing"  # noqa: PT017
    assert bool(made & set(world.gitlab.runners)) is left

"""A pool's tokens and keys go only where their Secrets say; what was known before is not used on."""

from __future__ import annotations

import pytest

from tests.support.pool_world import KEY, PROJECT, PoolWorld

GITLAB = {
    "url": "http://gitlab.example",
    "scope": {"type": "Project", "path": PROJECT},
    "apiTokenSecret": {"name": "gitlab"},
    "webhookSecret": {"name": "hook"},
}
S3 = {
    "server": "minio.storage.svc:9000",
    "bucket": "caches",
    "accessKeySecret": {"name": "s3"},
    "secretKeySecret": {"name": "s3"},
}


def allow(world: PoolWorld, name: str, hosts: str | None) -> None:
    """Annotate a Secret, as its owner would."""
    world.kubernetes.edit("secrets", KEY[0], name, {"metadata": {"annotations": {"bessemer.dev/for": hosts}}})
    version = world.kubernetes.objects["secrets", KEY[0], name]["metadata"]["resourceVersion"]
    world.watcher.tell(KEY[0], name, version)


def explain(world: PoolWorld) -> str:
    """Return the message of the condition Ready."""
    return str(next(one for one in world.status()["conditions"] if one["type"] == "Ready")["message"])


@pytest.mark.parametrize(
    ("name", "field"), [("gitlab", "spec.gitlab.apiTokenSecret"), ("runner", "spec.runner.tokenSecret")]
)
async def test_a_token_is_not_sent_to_a_host_that_its_secret_does_not_name(
    world: PoolWorld, name: str, field: str
) -> None:
    for other, value in (("gitlab", "glpat-secret"), ("runner", "glrt-given"), ("hook", "hook-secret")):
        await world.put_secret(other, value)
    allow(world, name, "https://database.example")
    await world.apply()
    await world.settle()
    assert world.condition("Ready") == ("False", "SecretNotForHost")
    assert f"Secret {name} ({field}) says that it is for https://database.example" in explain(world)
    assert "bessemer.dev/for=https://database.example,http://gitlab.example" in explain(world)
    assert "verify_runner" not in world.gitlab.calls
    assert world.pods() == {}
    allow(world, name, "gitlab.example")
    await world.settle()
    assert world.condition("Ready")[0] == "True"


async def test_a_secret_that_may_not_go_there_any_more_is_not_used_on(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    assert world.condition("Ready")[0] == "True"
    allow(world, "gitlab", None)
    await world.settle()
    assert world.condition("Ready") == ("False", "SecretNotForHost")


async def test_the_keys_of_a_cache_go_to_its_server_only(world: PoolWorld) -> None:
    await world.put_secret("s3", "key")
    await world.apply(cache={"s3": S3})
    await world.settle()
    assert world.condition("Ready") == ("False", "SecretNotForHost")
    assert "spec.cache.s3.accessKeySecret" in explain(world)
    assert ("secrets", KEY[0], "lab-runner") not in world.kubernetes.objects
    allow(world, "s3", "minio.storage.svc:9000")
    await world.settle()
    assert world.condition("Ready")[0] == "True"


async def test_what_is_not_sent_needs_no_annotation(world: PoolWorld) -> None:
    await world.apply()
    allow(world, "hook", None)
    await world.settle()
    assert world.condition("Ready")[0] == "True"


async def test_an_administrator_may_switch_it_off(world: PoolWorld) -> None:
    await world.change_settings(secrets_name_hosts=0)
    await world.apply()
    for name in ("gitlab", "runner"):
        allow(world, name, None)
    await world.settle()
    assert world.condition("Ready")[0] == "True"

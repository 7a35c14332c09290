"""What is known of a pool's runner, where its secrets go, and how often all of it is looked at."""

from __future__ import annotations

import asyncio

from bessemer.gitlab.protocol import GitLabUnavailable
from bessemer.kinds.runnerpool.runner.known import CHECK_SECONDS, WATCHED_CHECK_SECONDS
from bessemer.kube.protocol import Unavailable
from tests.fakes.gitlab import FakeGitLab
from tests.support.pool_world import KEY, PoolWorld


async def test_secrets_are_read_again_now_and_then_and_more_often_while_one_is_not_watched(world: PoolWorld) -> None:
    def count_reads() -> int:
        return sum(call[:2] == ("get", "secrets") for call in world.kubernetes.calls)

    async def read_within(seconds: int) -> int:
        world.kubernetes.calls.clear()
        world.pass_time(seconds)
        await world.settle()
        return count_reads()

    await world.apply()
    await world.settle()
    assert await read_within(CHECK_SECONDS) > 0, "no watch has begun yet"
    for namespace, name in world.watcher.open:
        version = world.kubernetes.objects["secrets", namespace, name]["metadata"]["resourceVersion"]
        world.watcher.tell(namespace, name, version)
    await world.settle()
    assert await read_within(WATCHED_CHECK_SECONDS - 1) == 0
    assert await read_within(1) > 0
    world.watcher.tell(KEY[0], "hook", Unavailable("ApiUnavailable", "away"))
    await asyncio.sleep(0)
    assert await read_within(CHECK_SECONDS) > 0


async def test_a_runners_token_is_never_shown_to_another_gitlab(world: PoolWorld) -> None:
    other = world.others["http://new.example"] = FakeGitLab()
    other.error = GitLabUnavailable("503")
    managers = await world.run_job(7)
    gitlab = world.kubernetes.objects["runnerpools", *KEY]["spec"]["gitlab"]
    await world.apply(gitlab={**gitlab, "url": "http://new.example"})
    await world.settle()
    world.end_pod("lab-runner-0", 7)
    await world.settle()
    assert "delete_manager" not in other.calls
    assert managers == set(), "it was forgotten where it was"


async def test_what_is_known_of_a_pool_is_not_of_another_of_its_name(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    del world.kubernetes.objects["runnerpools", *KEY], world.kubernetes.objects["secrets", KEY[0], "lab-runner"]
    await world.apply()  # before a pass has seen that the first one is gone
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")
    assert ("secrets", KEY[0], "lab-runner") in world.kubernetes.objects


async def test_gitlab_clients_that_no_pool_uses_any_more_are_closed(world: PoolWorld) -> None:
    opened: list[FakeGitLab] = []

    def connect(*_: object) -> FakeGitLab:
        opened.append(FakeGitLab(runners=world.gitlab.runners))
        return opened[-1]

    world.deps.gitlab_clients.connect = connect
    await world.apply()
    await world.settle()
    for number in range(10):
        await world.put_secret("gitlab", f"glpat-{number}")
        await world.settle()
    assert len(opened) > 10
    assert sum(not gitlab.closed for gitlab in opened) == 2, "one for polls, one for the rest"
    world.kubernetes.edit("runnerpools", *KEY, {"metadata": {"finalizers": []}})
    del world.kubernetes.objects["runnerpools", *KEY]
    await world.settle()
    assert all(gitlab.closed for gitlab in opened)

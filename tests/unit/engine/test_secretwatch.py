"""Watches of Secrets: what they tell, how often they are tried again, and that they stay few."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.engine import secretwatch
from bessemer.engine.secretwatch import SecretWatches
from bessemer.errors import BessemerError
from bessemer.kube.protocol import Refused, Unavailable
from tests.fakes.watcher import FakeWatcher, Key

LAB, GPU = ("ci", "lab"), ("ci", "gpu")


@dataclass
class World:
    """Watches, who was woken, and the pauses that were made."""

    watcher: FakeWatcher = field(default_factory=FakeWatcher)
    woken: list[Key] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    watches: SecretWatches = field(init=False)

    def __post_init__(self) -> None:
        self.watches = SecretWatches(self.watcher, self.woken.append)

    async def tell(self, name: str, heard: str | BessemerError | None) -> None:
        self.watcher.tell("ci", name, heard)
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    world = World()
    monkeypatch.setattr(random, "uniform", lambda *_: 1.0)

    async def pause(seconds: float) -> None:
        world.pauses.append(seconds)

    monkeypatch.setattr(secretwatch, "sleep", pause)
    yield world
    await world.watches.close()


async def test_all_pools_that_name_a_secret_hear_of_its_change(world: World) -> None:
    world.watches.use(LAB, ["token"])
    world.watches.use(GPU, ["token", "ca"])
    await settle()
    assert sorted(world.watcher.begun) == [("ci", "ca"), ("ci", "token")]
    await world.tell("token", "7")
    assert sorted(world.woken) == [GPU, LAB]
    assert (world.watches.count_changes(LAB), world.watches.count_changes(GPU)) == (1, 1)


async def test_a_watch_that_ends_is_begun_again_and_tells_nothing_that_was_known(world: World) -> None:
    world.watches.use(LAB, ["token"])
    await settle()
    await world.tell("token", "7")
    await world.tell("token", None)
    await world.tell("token", "7")
    assert world.woken == [LAB]
    await world.tell("token", "8")
    assert world.woken == [LAB, LAB]


async def test_a_watch_that_does_not_hold_is_tried_ever_more_rarely(world: World) -> None:
    world.watches.use(LAB, ["token"])
    await settle()
    for _ in range(12):
        await world.tell("token", Unavailable("ApiUnavailable", "away"))
    assert world.pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert world.pauses[-1] == 60.0


async def test_who_may_not_watch_asks_again_after_minutes(world: World) -> None:
    world.watches.use(LAB, ["token"])
    await settle()
    await world.tell("token", Refused("Forbidden", "secrets is forbidden"))
    assert world.pauses == [600.0]


async def test_a_pool_that_goes_takes_its_watches_along_but_not_those_of_others(world: World) -> None:
    world.watches.use(LAB, ["token", "hook"])
    world.watches.use(GPU, ["token"])
    await settle()
    await world.tell("hook", "3")
    world.watches.leave(LAB)
    await settle()
    assert set(world.watcher.open) == {("ci", "token")}
    assert world.watches.count_changes(LAB) == 0


async def test_there_are_never_more_watches_than_connections_for_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secretwatch, "MOST_WATCHES", 2)
    world.watches.use(LAB, ["a", "b", "c"])
    await settle()
    assert set(world.watcher.open) == {("ci", "a"), ("ci", "b")}
    world.watches.use(LAB, ["b", "c"])
    await settle()
    assert set(world.watcher.open) == {("ci", "b"), ("ci", "c")}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 30)), max_size=60))
def test_a_namespace_with_many_secrets_leaves_the_others_their_share(wishes: list[tuple[str, int]]) -> None:
    async def run() -> None:
        watcher = FakeWatcher()
        watches = SecretWatches(watcher, lambda _pool: None)
        names: dict[str, set[str]] = {}
        for namespace, number in wishes:
            names.setdefault(namespace, set()).add(f"s{number}")
        for _ in range(len(wishes) + 1):  # as passes do
            for namespace, wanted in names.items():
                watches.use((namespace, "pool"), wanted)
        await settle()
        shares = Counter(namespace for namespace, _ in watcher.open)
        assert sum(shares.values()) == min(sum(map(len, names.values())), 12)
        for namespace, wanted in names.items():
            assert shares[namespace] >= min(len(wanted), 12 // len(names) - 1)
        await watches.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secretwatch, "MOST_WATCHES", 12)
        asyncio.run(run())

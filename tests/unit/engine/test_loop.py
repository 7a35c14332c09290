"""The loops that wake builds: one pass at a time, nothing missed, failures backed off."""

from __future__ import annotations

import asyncio

import pytest

from bessemer.engine import loop as module
from bessemer.engine.boundary import NEVER, Outcome
from bessemer.engine.faults import Fault
from bessemer.engine.loop import Key, WakeUps
from bessemer.errors import Invalid, Retry

KEY = ("lab", "oxygen")


async def show_nothing(_key: Key, _fault: Fault) -> None:
    """What a pass leaves on its object that no test looks at."""


@pytest.fixture(autouse=True)
def _short_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_BACK_OFF_SECONDS", 0.001)
    monkeypatch.setattr(module, "LONGEST_BACK_OFF_SECONDS", 0.002)


class Work:
    """Counts passes; fails or waits as told."""

    def __init__(self) -> None:
        self.passes: list[Key] = []
        self.side_by_side = 0
        self.most = 0
        self.errors: list[Exception] = []
        self.wake_after: float | None = None
        self.enough = asyncio.Event()
        self.wanted = 1

    async def __call__(self, key: Key, woken: float) -> float | None:
        assert woken > 0
        self.side_by_side += 1
        self.most = max(self.most, self.side_by_side)
        await asyncio.sleep(0)
        self.side_by_side -= 1
        self.passes.append(key)
        if len(self.passes) >= self.wanted:
            self.enough.set()
        if self.errors:
            raise self.errors.pop(0)
        return self.wake_after

    async def reached(self, passes: int) -> None:
        self.wanted = passes
        if len(self.passes) < passes:
            self.enough.clear()
            await asyncio.wait_for(self.enough.wait(), 5)


async def test_many_wake_ups_during_a_pass_are_answered_by_one_more() -> None:
    work = Work()
    wakeups = WakeUps(work, 300, lambda _: None, show_nothing)
    wakeups.wake(KEY)
    await work.reached(1)
    for _ in range(10):
        wakeups.wake(KEY)
    await work.reached(2)
    await asyncio.sleep(0.01)
    assert len(work.passes) == 2
    assert work.most == 1
    await wakeups.close()


async def test_time_alone_wakes_a_build_that_asked_for_it() -> None:
    work = Work()
    work.wake_after = 0.001
    wakeups = WakeUps(work, 300, lambda _: None, show_nothing)
    wakeups.wake(KEY)
    await work.reached(3)
    await wakeups.close()


async def test_every_build_is_resynced() -> None:
    work = Work()
    wakeups = WakeUps(work, 0.001, lambda _: None, show_nothing)
    wakeups.wake(KEY)
    await work.reached(3)
    await wakeups.close()


async def test_a_failing_pass_is_repeated_whatever_it_raised() -> None:
    work, outcomes = Work(), list[Outcome]()
    work.errors = [
        RuntimeError("bug"),
        Retry("ApiUnavailable", "gone"),
        Retry("Conflict", "x", after=0),
        Invalid("Bad", "y"),
    ]
    wakeups = WakeUps(work, 300, outcomes.append, show_nothing)
    wakeups.wake(KEY)
    await work.reached(5)
    await asyncio.sleep(0.01)
    assert [outcome.reason for outcome in outcomes] == ["InternalError", "ApiUnavailable", "Conflict", "Bad", ""]
    await wakeups.close()


async def test_a_pass_that_fails_for_hours_is_still_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_BACK_OFF_SECONDS", 0.0)
    work, outcomes = Work(), list[Outcome]()
    work.errors = [Retry("ApiUnavailable", "gone") for _ in range(1100)]
    wakeups = WakeUps(work, 300, outcomes.append, show_nothing)
    wakeups.wake(KEY)
    await work.reached(1101)
    await wakeups.close()
    assert [outcome.failed for outcome in outcomes[:1100]] == [True] * 1100


async def test_a_build_that_is_gone_is_looked_at_once_for_each_time_that_something_is_heard_of_it() -> None:
    work = Work()
    wakeups = WakeUps(work, 0.001, lambda _: None, show_nothing)
    wakeups.wake(KEY)
    await work.reached(1)
    work.wake_after = NEVER
    wakeups.wake(KEY)
    await work.reached(len(work.passes) + 1)
    await asyncio.sleep(0.01)
    passes = len(work.passes)
    wakeups.wake_all()
    await asyncio.sleep(0.01)
    assert len(work.passes) == passes
    wakeups.wake(KEY)  # by a pod that went after it
    await asyncio.sleep(0.01)
    assert len(work.passes) == passes + 1
    work.wake_after = None  # one of the same name is there
    wakeups.wake(KEY)
    await work.reached(passes + 3)
    await wakeups.close()


async def test_what_comes_during_the_last_pass_over_a_build_that_is_gone_is_answered_by_one_more() -> None:
    work = Work()
    work.wake_after = NEVER
    wakeups = WakeUps(work, 300, lambda _: None, show_nothing)
    wakeups.wake(KEY)
    await asyncio.sleep(0)
    wakeups.wake(KEY)
    await asyncio.sleep(0.01)
    assert len(work.passes) == 2
    await wakeups.close()


async def test_one_builds_trouble_does_not_hold_up_another() -> None:
    work = Work()
    wakeups = WakeUps(work, 300, lambda _: None, show_nothing)
    work.errors = [RuntimeError("bug")]
    wakeups.wake(KEY)
    wakeups.wake(("lab", "neon"))
    await work.reached(3)
    assert ("lab", "neon") in work.passes
    await wakeups.close()


@pytest.mark.parametrize("turns", range(6))
async def test_loops_that_are_stopped_just_when_they_are_woken_end(turns: int) -> None:
    work = Work()
    wakeups = WakeUps(work, 300, lambda _: None, show_nothing)
    wakeups.wake(KEY)
    await work.reached(1)
    for _ in range(5):
        await asyncio.sleep(0)
    wakeups.wake(KEY)
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await wakeups.close()

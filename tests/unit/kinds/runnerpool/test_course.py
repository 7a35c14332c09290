"""The course of a pass over a pool: one decision for each step, and reading changes nothing that is remembered."""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime

import pytest

from bessemer.api.runnerpool.resource import parse_runner_pool
from bessemer.kinds.runnerpool.course import Reading
from bessemer.kinds.runnerpool.facts import BLOCKED, RunnerFact
from bessemer.kinds.runnerpool.kind import PoolPlan
from bessemer.kinds.runnerpool.observe import begin_reading, get_facts
from tests.support.pool_world import KEY, PoolWorld

MANAGED = {"managed": {}, "tags": ["hpc"]}


@pytest.fixture
def decided(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that are decided, by name; an empty one ends a pass."""
    steps: list[str] = []
    decide = world.kind.decide

    def note(facts: Reading, now: datetime) -> PoolPlan:
        plan = decide(facts, now)
        inner = getattr(getattr(plan.step, "decision", None), "step", None)
        steps.append(" ".join(type(step).__name__ for step in (plan.step, inner) if step is not None))
        return plan

    monkeypatch.setattr(world.kind, "decide", note)
    return steps


async def test_each_question_and_step_of_the_runner_is_a_step_of_the_pass(world: PoolWorld, decided: list[str]) -> None:
    await world.apply(runner=MANAGED)
    await world.step()
    assert decided == [
        "ReadRunner",
        "KeepRunner StartPolls",
        "KeepRunner ListRunners",
        "KeepRunner WriteRunnerSecret",
        "KeepRunner CreateRunner",
        "KeepRunner WriteRunnerSecret",
        "ConcludeRunner",
        "ReadPods",
        "",
    ]
    decided.clear()
    await world.step()
    assert decided == ["ReadPods", ""]


async def test_the_end_of_a_runner_is_decided_step_by_step_too(world: PoolWorld, decided: list[str]) -> None:
    await world.apply(runner=MANAGED)
    await world.settle()
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    decided.clear()
    await world.step()
    assert decided == [
        "KeepRunner StopPolls",
        "ReadPods",
        "EndRunner",
        "DeleteLeft DeleteRunner",
        "DeleteLeft ListRunners",
        "ConcludeEnd",
        "",
    ]
    assert ("runnerpools", *KEY) not in world.kubernetes.objects


async def test_reading_changes_nothing_that_is_remembered(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    pool = parse_runner_pool(world.kubernetes.objects["runnerpools", *KEY])
    memory = world.memory
    memory.quiet, memory.blocked = None, {3: world.clock[0] - BLOCKED, 4: world.clock[0]}
    before = deepcopy((memory.quiet, memory.blocked, memory.stall, memory.runner, memory.pause))
    begin_reading(world.deps, pool)
    facts = await get_facts(world.deps, pool, RunnerFact(ready=True, reason="Registered"))
    assert (memory.quiet, memory.blocked, memory.stall, memory.runner, memory.pause) == before
    assert facts.quiet_since == world.clock[0]
    assert facts.blocked == {4}
    await world.step()
    assert list(memory.blocked) == [4]
    assert begin_reading(world.deps, pool).fresh is not None

"""A pass with an unexpected error says so on its object, whatever that holds, and removes its finalizer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.api.wellknown import POOL_FINALIZER
from bessemer.engine.boundary import Outcome, guard
from bessemer.engine.faults import Fault, build_fault_status, build_release, is_overdue
from bessemer.errors import Invalid, Retry
from bessemer.kube.protocol import Refused
from tests.support.pool_world import KEY, PoolWorld, open_pool_world
from tests.support.world import NAMESPACE, World, manifest

NOW = datetime(2026, 11, 23, tzinfo=UTC)
INTERNAL = "KeyError: a fault in Bessemer, the operator's log says where"


@pytest.fixture
def world() -> World:
    return World()


async def fail(error: Exception) -> float | None:
    raise error


def fail_build(world: World, error: Exception) -> Outcome:
    key = (NAMESPACE, "oxygen")
    return asyncio.run(guard("lab/oxygen", fail(error), partial(world.controller.show_fault, key)))


def test_an_unexpected_error_stands_on_a_build_once(world: World) -> None:
    world.apply(manifest())
    world.settle()
    before = world.build().status
    for _ in range(3):
        outcome = fail_build(world, KeyError("hunter2"))
        world.pass_time(5)
    assert (outcome.failed, outcome.reason) == (True, "InternalError")
    assert world.condition("Ready") == ("False", "InternalError", INTERNAL)
    assert [event for event in world.events() if event[1] == "InternalError"] == [
        ("Warning", "InternalError", INTERNAL)
    ]
    others = {condition.type: condition for condition in before.conditions if condition.type != "Ready"}
    after = world.build().status
    assert {found.type: found for found in after.conditions if found.type != "Ready"} == others
    assert after.model_copy(update={"conditions": []}) == before.model_copy(update={"conditions": []})
    world.step()
    assert world.condition("Ready")[:2] == ("True", "Verified"), "a pass that comes to its end takes it away"


def test_an_internal_error_that_time_does_not_cure_is_shown_too(world: World) -> None:
    world.apply(manifest())
    world.step()
    fail_build(world, Refused("Invalid", "status: Too long"))
    assert world.condition("Ready") == ("False", "Invalid", "status: Too long")
    fail_build(world, Retry("ApiUnavailable", "no answer"))
    assert world.condition("Ready")[1] == "Invalid", "what time cures is not"


def test_a_build_that_was_deleted_goes_when_its_time_is_up(world: World) -> None:
    world.apply(manifest())
    world.step()
    world.delete()
    fail_build(world, KeyError())
    assert world.exists()
    world.pass_time(900)
    fail_build(world, KeyError())
    assert not world.exists()
    assert ("Warning", "CleanupAbandoned", f"not done within 900 s: InternalError: {INTERNAL}") in world.events()
    fail_build(world, KeyError())


def test_showing_may_fail_and_the_loop_goes_on(world: World) -> None:
    world.apply(manifest())
    world.step()

    for failure in (Refused("Forbidden", "no"), Invalid("Bad", "no"), RuntimeError("bug")):

        async def show(_: Fault, error: Exception = failure) -> None:
            raise error

        assert asyncio.run(guard("lab/oxygen", fail(KeyError()), show)) == Outcome(failed=True, reason="InternalError")


@pytest.fixture
async def pools() -> AsyncIterator[PoolWorld]:
    async with open_pool_world() as world:
        yield world


async def test_an_unexpected_error_stands_on_a_pool_and_its_finalizer_is_removed(pools: PoolWorld) -> None:
    await pools.apply()
    await pools.settle()
    show = partial(pools.controller.show_fault, KEY)
    for _ in range(3):
        await guard("ci/lab", fail(KeyError("hunter2")), show)
    raw = pools.kubernetes.objects["runnerpools", *KEY]
    ready = next(found for found in raw["status"]["conditions"] if found["type"] == "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "InternalError", INTERNAL)
    events = [raw for (plural, _, _), raw in pools.kubernetes.objects.items() if plural == "events"]
    assert len([event for event in events if event["reason"] == "InternalError"]) == 1
    pools.kubernetes.mark_deleted(raw)
    pools.watch()
    await guard("ci/lab", fail(KeyError()), show)
    assert POOL_FINALIZER in pools.kubernetes.objects["runnerpools", *KEY]["metadata"]["finalizers"]
    pools.clock[0] = datetime.fromisoformat(raw["metadata"]["deletionTimestamp"]).replace(year=2027)
    await guard("ci/lab", fail(KeyError()), show)
    assert ("runnerpools", *KEY) not in pools.kubernetes.objects


FOREIGN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(["type", "conditions", "x"]), part),
    max_leaves=8,
)


@settings(deadline=None)
@given(FOREIGN, FOREIGN, FOREIGN)
def test_no_object_makes_showing_raise(status: Any, generation: Any, deleted: Any) -> None:
    for raw in (
        {"metadata": {"generation": generation, "deletionTimestamp": deleted}, "status": status},
        {"metadata": {}, "status": {"conditions": status}},
        {
            "metadata": {},
            "status": {"conditions": [{"type": "Ready", "lastTransitionTime": deleted, "status": "True"}]},
        },
    ):
        patch = build_fault_status(raw, Fault("InternalError", "x"), NOW)
        assert patch is not None
        assert patch["status"]["conditions"][0]["reason"] == "InternalError"
        is_overdue(raw, 900, NOW)
        build_release(raw, POOL_FINALIZER)


def test_what_it_says_already_is_not_written_again() -> None:
    raw: dict[str, Any] = {"metadata": {}}
    patch = build_fault_status(raw, Fault("InternalError", "x"), NOW)
    assert patch is not None
    assert build_fault_status(raw | patch, Fault("InternalError", "x"), NOW) is None

"""An operator that dies before or after each of its calls: one record, one build, and the same end.

Each story is told once without a death, to know its moments, then once for each of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from bessemer.errors import BessemerError
from tests.fakes.kubernetes import Crash
from tests.support.examples import spread
from tests.support.trigger_world import KEY, TriggerWorld, build_manifest, open_trigger_world, push_body

FIRST, CHANGED = build_manifest(), build_manifest(onDelete="PowerOff")
SECOND = build_manifest("neon", management={"host": "oxygen21"}, compute={"hosts": "oxygen[22-25]"})
Change = Callable[[TriggerWorld], Awaitable[None]]


async def push(world: TriggerWorld) -> None:
    """A push, delivered as often as GitLab is not answered with success."""
    await deliver(world, world.push("two", oxygen=CHANGED))


async def replace(world: TriggerWorld) -> None:
    """A push while the cluster is being built for an earlier one, which it replaces."""
    await deliver(world, world.push("one", oxygen=FIRST))
    await go_on(world)
    await deliver(world, world.push("two", oxygen=CHANGED))


async def prune(world: TriggerWorld) -> None:
    """A push that removes a manifest."""
    await deliver(world, world.push("one", oxygen=FIRST, neon=SECOND))
    await go_on(world)
    await deliver(world, world.push("two", oxygen=CHANGED, neon=None))


async def delete(world: TriggerWorld) -> None:
    """A push, then the trigger is deleted with what it made."""
    await deliver(world, world.push("two", oxygen=CHANGED))
    await go_on(world)
    world.kubernetes.mark_deleted(world.kubernetes.objects["buildtriggers", *KEY])


SPEC: dict[Change, dict[str, Any]] = {
    push: {},
    replace: {"concurrency": "Replace"},
    prune: {"prune": "Delete", "concurrency": "Replace"},
    delete: {"onDelete": "Delete"},
}


async def deliver(world: TriggerWorld, commit: str) -> None:
    """Deliver a push until it is taken; the operator may die meanwhile."""
    for _ in range(3):
        try:
            world.pass_time(1)
            await world.take(push_body(commit))
        except Crash:
            await world.restart_operator()
            await go_on(world)
        else:
            return
    raise AssertionError("the event was never taken")


async def go_on(world: TriggerWorld) -> None:
    """Run passes until nothing changes, and the kind ClusterBuild with them."""
    for _ in range(5):
        try:
            with suppress(BessemerError):
                await world.step()
        except Crash:
            await world.restart_operator()
        for name in ("oxygen", "neon"):
            raw = world.build(name)
            aborted = raw is not None and "bessemer.dev/abort" in raw["metadata"].get("annotations", {})
            if aborted:
                world.end_build(name, ready=False, reason="Aborted")


async def tell(change: Change, death: int | None) -> tuple[list[str], Any]:
    """Tell a story with a death at one moment; return the moments and what is there at the end."""
    async with open_trigger_world() as world:
        await world.apply(**SPEC[change], report={"statuses": "Off", "mergeRequests": "Off"})
        await world.settle()
        mortality = world.mortality
        mortality.arm(death)
        await change(world)
        await go_on(world)
        assert mortality.dead == (death is not None)
        return mortality.moments, describe(world)


def describe(world: TriggerWorld) -> Any:
    """Return what is there, without names that differ from run to run."""
    builds = {
        name: (raw["spec"].get("onDelete"), raw["metadata"]["annotations"]["bessemer.dev/commit"])
        for (plural, _, name), raw in world.kubernetes.objects.items()
        if plural == "clusterbuilds"
    }
    created = sorted(name for kind, name in world.kubernetes.created if kind == "clusterbuilds")
    records = sorted(name for kind, name in world.kubernetes.created if kind == "configmaps")
    gone = ("buildtriggers", *KEY) not in world.kubernetes.objects
    return builds, created, records, gone, [] if gone else world.states()


@pytest.mark.parametrize(
    ("change", "calls"),
    [
        (push, ("create_object", "get_head", "get_file", "apply_object", "patch_object")),
        (replace, ("apply_object", "patch_object")),
        (prune, ("delete_object",)),
        (delete, ("delete_object", "patch_object")),
    ],
)
async def test_an_operator_that_dies_between_any_two_calls_ends_at_the_same(
    change: Change, calls: tuple[str, ...]
) -> None:
    moments, end = await tell(change, None)
    assert {f"{side} {call}" for side in ("before", "after") for call in calls} <= set(moments)
    for death in spread(range(len(moments))):
        _, found = await tell(change, death)
        assert found == end, (death, moments[death])

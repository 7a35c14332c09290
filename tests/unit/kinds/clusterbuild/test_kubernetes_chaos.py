"""Kubernetes' API fails in any order, before a call's effect or after it: nothing runs twice or is lost, no status says
more than has happened, and a build is finished, or goes, once the API is back."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bessemer.errors import BessemerError
from tests.support.examples import examples
from tests.support.unsteady import FATES, Fate, make_unsteady
from tests.support.world import World, manifest
from tests.unit.kinds.clusterbuild.scenes import ALL_PODS

MOST_PASSES = 80


def look(world: World) -> None:
    with suppress(BessemerError):  # the loop tries again, whatever it is
        world.step()


def check_status(world: World) -> None:
    started = world.started()
    assert started == ALL_PODS[: len(started)], "each phase was started once, in its order"
    status = world.build().status
    ready = next((one for one in status.conditions if one.type == "Ready"), None)
    if ready is not None and ready.status == "True":
        assert started == ALL_PODS
    assert sum(phase.state == "Succeeded" for phase in status.phases) <= len(started)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fates=FATES)
@example(fates=[(True, "away")] * 100)
@example(fates=[(False, "refused")] * 100)
def test_a_build_is_finished_and_nothing_runs_twice(fates: list[Fate]) -> None:
    world = World()
    world.apply(manifest())
    make_unsteady(world.kubernetes, fates)
    for _ in range(MOST_PASSES + len(fates)):
        look(world)
        check_status(world)
        world.run_pods()
        world.pass_time(5)
        if world.build().status.phase == "Ready":
            break
    assert world.condition("Ready")[0] == "True"
    assert world.started() == ALL_PODS
    assert [phase.attempt for phase in world.build().status.phases] == [1] * len(ALL_PODS)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(passes=st.integers(0, 12), fates=FATES)
def test_a_deleted_build_goes_and_leaves_no_machine_claimed(passes: int, fates: list[Fate]) -> None:
    world = World()
    world.apply(manifest())
    for _ in range(passes):
        look(world)
        world.run_pods()
        world.pass_time(5)
    world.delete()
    make_unsteady(world.kubernetes, fates)
    for _ in range(MOST_PASSES + len(fates)):
        if not world.exists():
            break
        look(world)
        world.run_pods()
        world.pass_time(5)
    assert not world.exists()
    look(world)
    assert world.leases() == {}

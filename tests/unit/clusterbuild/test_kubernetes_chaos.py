"""Kubernetes' API fails in any order, before a call's effect or after it: nothing runs twice or is lost, no status says
more than has happened, and a build is finished, or goes, once the API is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bessemer.errors import BessemerError
from bessemer.kube.client import Conflict, Kind, Refused, Unavailable
from tests.support.world import World, manifest
from tests.unit.clusterbuild.scenes import ALL_PODS

ERRORS: dict[str, Callable[[], BessemerError]] = {
    "away": lambda: Unavailable("ApiUnavailable", "connection refused"),
    "refused": lambda: Refused("Forbidden", "403"),
    "conflict": lambda: Conflict("Conflict", "409"),
}
FATE = st.none() | st.tuples(st.booleans(), st.sampled_from(sorted(ERRORS)))
"""Of a call: nothing befalls it; or how it fails, after its effect or before."""
MOST_PASSES = 80


def make_unsteady(world: World, fates: Iterator[tuple[bool, str] | None]) -> None:
    """Have the calls of Kubernetes fail as is foretold, and those after them succeed."""
    kubernetes = world.kubernetes
    call, done = kubernetes._call, kubernetes._done
    fate: list[tuple[bool, str] | None] = [None]

    def begin(verb: str, kind: Kind, what: str) -> None:
        fate[0] = next(fates, None)
        call(verb, kind, what)
        if fate[0] is not None and not fate[0][0]:
            raise ERRORS[fate[0][1]]()

    def end(answer: Any) -> Any:
        found = done(answer)
        if fate[0] is not None and fate[0][0] and fate[0][1] == "away":
            raise ERRORS["away"]()
        return found

    kubernetes.__dict__.update(_call=begin, _done=end)


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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fates=st.lists(FATE, max_size=120))
@example(fates=[(True, "away")] * 100)
@example(fates=[(False, "refused")] * 100)
def test_a_build_is_finished_and_nothing_runs_twice(fates: list[tuple[bool, str] | None]) -> None:
    world = World()
    world.apply(manifest())
    make_unsteady(world, iter(fates))
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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(passes=st.integers(0, 12), fates=st.lists(FATE, max_size=80))
def test_a_deleted_build_goes_and_leaves_no_machine_claimed(passes: int, fates: list[tuple[bool, str] | None]) -> None:
    world = World()
    world.apply(manifest())
    for _ in range(passes):
        look(world)
        world.run_pods()
        world.pass_time(5)
    world.delete()
    make_unsteady(world, iter(fates))
    for _ in range(MOST_PASSES + len(fates)):
        if not world.exists():
            break
        look(world)
        world.run_pods()
        world.pass_time(5)
    assert not world.exists()
    look(world)
    assert world.leases() == {}

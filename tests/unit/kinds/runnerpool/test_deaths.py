"""An operator that dies before and after each of its calls to Kubernetes and GitLab: whatever it was at, nothing leaks.

Each story is told once without a death, to know its moments, then once for each of them.
"""

from __future__ import annotations

import pytest

from tests.fakes.kubernetes import Crash
from tests.support.examples import spread
from tests.unit.kinds.runnerpool.pool_story import (
    Change,
    assert_nothing_leaked,
    create,
    delete,
    leave_out_pauses,
    move,
    open_story,
    rotate,
    run_job,
    update,
)


async def tell(change: Change, death: int | None) -> list[str]:
    """Tell a story with a death at one of the moments of its change; return these moments."""
    async with open_story(change) as story:
        world = story.world
        world.mortality.arm(death)
        mortality = world.mortality
        await change(world)  # type: ignore[misc]  # each is a coroutine function
        try:
            await story.go_on()
        except Crash:
            await world.restart_operator()
            await story.go_on()
        assert mortality.dead == (death is not None)
        assert_nothing_leaked(story, change)
        return mortality.moments


@pytest.mark.parametrize(
    ("change", "calls"),
    [
        (create, ("list_runners", "create_runner")),
        (rotate, ("rotate_runner",)),
        (update, ("update_runner",)),
        (move, ("delete_runner", "create_runner")),
        (run_job, ("delete_manager",)),
        (delete, ("delete_runner",)),
    ],
)
async def test_an_operator_that_dies_between_any_two_calls_leaks_no_runner(
    change: Change, calls: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_pauses(monkeypatch)
    moments = await tell(change, None)
    assert {f"{side} {call}" for side in ("before", "after") for call in (*calls, "patch_object")} <= set(moments)
    for death in spread(range(len(moments))):
        assert (await tell(change, death)) == moments[: death + 1]

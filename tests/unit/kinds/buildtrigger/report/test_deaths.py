"""An operator that dies before or after each of its calls: one set of statuses, one note, one deployment.

The story is told once without a death, to know its moments, then once for each of them.
"""

from __future__ import annotations

from typing import Any

from bessemer.gitlab.reports import MergeRequest
from tests.fakes.kubernetes import Crash
from tests.support.examples import spread
from tests.support.trigger_world import TriggerWorld, build_manifest, open_trigger_world, push_body

CALLS = (
    "set_status",
    "list_statuses",
    "list_merge_requests",
    "get_merge_request",
    "find_note",
    "create_note",
    "update_note",
    "resolve_discussion",
    "find_deployment",
    "create_deployment",
    "update_deployment",
    "patch_object",
)


async def test_a_death_around_any_call_leaves_one_set_of_statuses_and_one_note() -> None:
    moments, wanted = await tell(None)
    named = {moment.split()[1] for moment in moments}
    assert set(CALLS) <= named
    assert wanted == (
        {"bessemer/site": "success", "bessemer/oxygen/Preflight": "success", "bessemer/oxygen/Verify": "success"},
        1,
        [True],
        ["success"],
    )
    for death in spread(range(len(moments))):
        _, found = await tell(death)
        assert found == wanted, f"death at {moments[death]}, moment {death}"


async def tell(death: int | None) -> tuple[list[str], Any]:
    """Tell the story of a build with a death at one moment; return the moments, and what GitLab has at the end."""
    async with open_trigger_world() as world:
        await world.apply(report={"mergeRequests": "Discussion", "environment": "{cluster}"})
        await world.settle()
        commit = world.push("one", oxygen=build_manifest())
        world.reports.merge_requests[3] = MergeRequest(3, commit, from_fork=False)
        await world.take(push_body(commit))
        mortality = world.mortality
        mortality.arm(death)
        await go_on(world)
        world.work(Preflight="Running")
        await go_on(world)
        world.work(Preflight="Succeeded", Verify="Succeeded")
        world.end_build()
        await go_on(world)
        assert mortality.dead == (death is not None)
        return mortality.moments, describe(world, commit)


async def go_on(world: TriggerWorld) -> None:
    """Run passes until nothing changes."""
    for _ in range(5):
        world.pass_time(30)
        try:
            await world.step()
        except Crash:
            await world.restart_operator()


def describe(world: TriggerWorld, commit: str) -> Any:
    """Return the statuses that count, the number of pipelines, the notes and the deployments."""
    notes = world.reports.notes[3].values()
    states = [state for _, state in world.reports.deployments.values()]
    return world.reports.states(commit), len(world.reports.pipelines), [note.resolved for note in notes], states

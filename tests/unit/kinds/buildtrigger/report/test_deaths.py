"""An operator that dies around each of its calls, or hears no answer to one: one set of statuses, one note, one
deployment.

The story is told once without a fault, to know its moments, then once for each of them.
"""

from __future__ import annotations

from typing import Any

from bessemer.gitlab.protocol import GitLabUnavailable
from bessemer.gitlab.reports import MergeRequest
from tests.fakes.kubernetes import Crash
from tests.support.examples import spread
from tests.support.mortality import Mortality
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


async def test_an_answer_that_is_lost_leaves_one_set_of_statuses_and_one_note() -> None:
    """harrisoncramer/gitlab.nvim#425: GitLab, or a proxy before it, answers 500 to what it has done."""
    moments, wanted = await tell(None)
    asked = {f"after {call}" for call in CALLS if call != "patch_object"}
    for number in (number for number, moment in enumerate(moments) if moment in asked):
        _, found = await tell(number, Silence())
        assert found == wanted, f"no answer to {moments[number]}, moment {number}"


class Silence(Mortality):
    """GitLab does what is asked, and its answer is lost; the operator lives on."""

    def pass_moment(self, what: str) -> None:
        """Continue, or lose the answer."""
        self.moments.append(what)
        if self.at == len(self.moments) - 1:
            self.dead = True
            raise GitLabUnavailable("504 Gateway Timeout")


async def tell(death: int | None, fault: Mortality | None = None) -> tuple[list[str], Any]:
    """Tell the story of a build with a fault at one moment; return the moments, and what GitLab has at the end."""
    async with open_trigger_world() as world:
        world.mortality = fault or world.mortality
        world.begin_operator()
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

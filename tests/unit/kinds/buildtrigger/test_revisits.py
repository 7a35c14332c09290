"""A branch, tag or merge request that comes back to a commit, and events that a later one has overtaken."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.gitlab.protocol import GitLabUnavailable
from bessemer.kinds.buildtrigger.revisits import MOST_RETURNS
from tests.support.examples import examples
from tests.support.trigger_world import MAIN, TriggerWorld, build_manifest, name_commit, open_trigger_world, push_body
from tests.unit.kinds.buildtrigger.test_merge_requests import MR, PLAN, open_request, request_body

MANIFESTS = {word: build_manifest(configuration={"variables": {"word": word}}) for word in "abc"}
AWAY = GitLabUnavailable("503: away")


async def push(world: TriggerWorld, word: str, before: str | None = None) -> str:
    """Have main point to a commit, deliver its webhook, and have what comes of it succeed."""
    commit = world.push(word, oxygen=MANIFESTS[word])
    await world.receive(push_body(commit, before=before))
    world.end_build()
    await world.settle()
    return commit


async def test_a_branch_that_is_set_back_to_an_earlier_commit_is_built_as_it_was(world: TriggerWorld) -> None:
    """A commit that was built once must not count as built for ever: a forced push is how a change is taken back."""
    first = await push(world, "a")
    second = await push(world, "b", first)
    assert world.commit_of() == second
    await push(world, "a", second)
    assert world.commit_of() == first
    await push(world, "b", first)
    assert world.commit_of() == second


async def test_the_webhook_of_a_return_is_one_event_however_often_it_arrives(world: TriggerWorld) -> None:
    first = await push(world, "a")
    second = await push(world, "b", first)
    world.push("a", oxygen=MANIFESTS["a"])
    outcomes = [await world.receive(push_body(first, before=second)) for _ in range(4)]
    assert outcomes == ["Taken", "Known", "Known", "Known"]
    world.end_build()
    await world.settle()
    assert [await world.receive(push_body(one)) for one in (first, second)] == ["Known", "Taken"]
    assert (world.commit_of(), world.states()[-1]) == (first, ("Superseded", "Superseded"))


async def test_an_old_event_that_is_delivered_without_end_makes_a_bounded_number_of_records(
    world: TriggerWorld,
) -> None:
    first = await push(world, "a")
    second = await push(world, "b", first)
    for _ in range(MOST_RETURNS + 4):
        await world.receive(push_body(first))
    assert len(world.records()) <= MOST_RETURNS + 2
    await push(world, "a", second)
    world.pass_time(601)
    await world.settle()
    assert world.commit_of() == first, "the comparison of branches finds what its webhooks tell no more"


async def test_a_return_that_no_webhook_tells_is_found_by_the_comparison(world: TriggerWorld) -> None:
    first = await push(world, "a")
    await push(world, "b", first)
    world.push("a", oxygen=MANIFESTS["a"])
    world.pass_time(601)
    await world.settle()
    assert world.commit_of() == first


async def test_a_branch_that_was_deleted_before_it_was_built_is_built_when_it_is_there_again(
    world: TriggerWorld,
) -> None:
    commit = world.push("a", oxygen=MANIFESTS["a"])
    world.repository.error = AWAY
    await world.receive(push_body(commit))
    world.repository.error = None
    del world.repository.heads[MAIN]
    world.pass_time(100)
    await world.settle()
    assert world.states() == [("Superseded", "Superseded")]
    await push(world, "a")
    assert world.commit_of() == commit


async def test_a_merge_request_that_is_reopened_is_planned_if_it_was_not_before(world: TriggerWorld) -> None:
    """harness/harness#2284: a merge request that was closed and reopened leads to nothing."""
    await world.apply(rules=[PLAN])
    commit = open_request(world, "one")
    world.repository.error = AWAY
    await world.receive(request_body(commit))
    world.repository.error = None
    world.repository.merge_requests[MR]["closed"] = True
    world.pass_time(100)
    await world.settle()
    assert world.states() == [("Superseded", "Superseded")]
    open_request(world, "one")
    assert await world.receive(request_body(commit, action="reopen")) == "Taken"
    assert world.states()[-1] == ("Planned", "Planned")
    assert await world.receive(request_body(commit, action="reopen")) == "Known"


async def test_what_an_overtaken_event_has_changed_is_built_with_the_later_one(world: TriggerWorld) -> None:
    await world.apply(rules=[{"name": "main", "push": {"branches": ["main"]}, "paths": ["clusters/oxygen.yaml"]}])
    first = await push(world, "a")
    world.repository.error = AWAY
    second = world.push("b", oxygen=MANIFESTS["b"])
    await world.receive(push_body(second, before=first))
    third = world.push("c", readme=b"kind: no")
    await world.receive(push_body(third, before=second))
    world.repository.commits[third]["README"] = world.repository.commits[third].pop("clusters/readme.yaml")
    world.repository.error = None
    world.pass_time(100)
    await world.settle()
    assert world.commit_of() == third
    world.end_build()
    await world.settle()
    fourth = world.push("d", notes=b"a: 1")
    await world.receive(push_body(fourth, before=third))
    assert world.states()[-1] == ("Skipped", "PathsUnchanged"), "what is built already counts no more"


@dataclass
class Play:
    """What happens to a branch, and to the webhooks that tell of it."""

    world: TriggerWorld
    told: list[dict[str, Any]] = field(default_factory=list)
    before: str | None = None

    async def act(self, what: str, word: str, number: int) -> None:
        """Do one thing."""
        if what in ("push", "lose"):
            commit = self.world.push(word, oxygen=MANIFESTS[word])
            if commit != self.before:
                body = push_body(commit, before=self.before)
                self.before = commit
                self.told += [body]
                if what == "push":
                    await self.world.receive(body)
        elif what == "repeat" and self.told:
            await self.world.receive(self.told[number % len(self.told)])
        elif what == "end" and self.world.build() is not None:
            self.world.end_build()
            await self.world.settle()
        elif what == "restart":
            await self.world.restart_operator()
            await self.world.settle()
        elif what == "wait":
            self.world.pass_time(601)
            await self.world.settle()


ACTS = st.tuples(
    st.sampled_from(["push", "push", "lose", "repeat", "end", "restart", "wait"]),
    st.sampled_from("abc"),
    st.integers(0, 9),
)


@settings(max_examples=examples(40))
@given(acts=st.lists(ACTS, max_size=12))
def test_whatever_a_branch_does_and_webhooks_tell_its_head_is_built_in_the_end(
    acts: list[tuple[str, str, int]],
) -> None:
    async def play() -> None:
        async with open_trigger_world() as world:
            await world.apply()
            await world.settle()
            scene = Play(world)
            for act in acts:
                await scene.act(*act)
            for _ in range(3):
                world.pass_time(601)
                await world.settle()
                if world.build() is not None:
                    world.end_build()
            await world.settle()
            assert (world.commit_of() if world.build() is not None else None) == scene.before

    asyncio.run(play())


async def test_what_came_while_a_build_went_on_is_built_with_the_next_event(world: TriggerWorld) -> None:
    rule = {"name": "main", "push": {"branches": ["main"]}, "paths": ["clusters/oxygen.yaml"]}
    await world.apply(rules=[rule], concurrency="Forbid")
    first = world.push("a", oxygen=MANIFESTS["a"])
    await world.receive(push_body(first))
    second = world.push("b", oxygen=MANIFESTS["b"])
    await world.receive(push_body(second, before=first))
    assert world.states()[-1] == ("Refused", "BuildInProgress")
    world.end_build()
    await world.settle()
    world.repository.push(MAIN, name_commit("c"), world.repository.commits[second] | {"README": b"more"})
    await world.receive(push_body(name_commit("c"), before=second))
    assert world.commit_of() == name_commit("c")

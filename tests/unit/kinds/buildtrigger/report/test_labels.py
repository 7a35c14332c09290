"""Names of statuses where several events, or triggers, speak of one commit."""

from __future__ import annotations

from bessemer.gitlab.reports import MergeRequest, Pipeline
from tests.support.trigger_world import KEY, URL, TriggerWorld, build_manifest, push_body, trigger_manifest
from tests.unit.kinds.buildtrigger.test_merge_requests import MR, request_body

FEATURE = "refs/heads/feature"
RULES = [
    {"name": "all", "push": {"branches": ["feature"], "protectedOnly": False}},
    {"name": "request", "mergeRequest": {"targetBranches": ["main"], "protectedOnly": False}},
]


def push_with_request(world: TriggerWorld) -> str:
    """Push a commit to a branch that has a merge request."""
    world.repository.merge_requests[MR] = {"target": "main"}
    commit = world.push("one", FEATURE, oxygen=build_manifest())
    world.push("one", MR, oxygen=build_manifest())
    world.reports.merge_requests[7] = MergeRequest(7, commit, from_fork=False, branch="feature", pipeline=None)
    return commit


def list_names(world: TriggerWorld, commit: str) -> list[tuple[str, str]]:
    return sorted({(row.name, row.state.value) for row in world.reports.rows[commit]})


async def test_a_push_and_its_merge_request_do_not_share_a_status(world: TriggerWorld) -> None:
    await world.apply(rules=RULES)
    commit = push_with_request(world)
    await world.take(push_body(commit, ref=FEATURE))
    await world.settle()
    world.pass_time(1)
    await world.take(request_body(commit))
    world.work(Preflight="Running")
    await world.settle(8)
    assert list_names(world, commit) == [
        ("bessemer/oxygen/Preflight", "running"),
        ("bessemer/site", "running"),
        ("bessemer/site (!7)", "pending"),
    ]
    for _ in range(2):
        world.work(Preflight="Succeeded")
        await world.settle()
        world.end_build()
        await world.settle(8)
    assert list_names(world, commit) == [
        ("bessemer/oxygen/Preflight", "success"),
        ("bessemer/oxygen/Preflight (!7)", "success"),
        ("bessemer/site", "success"),
        ("bessemer/site (!7)", "success"),
    ]


async def test_the_order_of_the_events_does_not_matter_and_a_death_neither(world: TriggerWorld) -> None:
    await world.apply(rules=RULES)
    commit = push_with_request(world)
    world.reports.pipelines[9] = head = Pipeline(9, commit, MR)
    world.reports.merge_requests[7] = MergeRequest(7, commit, from_fork=False, branch="feature", pipeline=head)
    await world.take(request_body(commit))
    await world.settle()
    world.pass_time(1)
    await world.take(push_body(commit, ref=FEATURE))
    await world.settle()
    await world.restart_operator()
    world.end_build()
    await world.settle(8)
    world.end_build()
    await world.settle(8)
    names = [name for name, _ in list_names(world, commit)]
    assert names[0] == "bessemer/site"
    assert len(names) == 2
    assert names[1].startswith("bessemer/site (feature")
    assert {row.pipeline for row in world.reports.rows[commit]} == {9}
    assert {state for _, state in list_names(world, commit)} == {"success"}


async def test_triggers_of_two_namespaces_do_not_share_a_status(world: TriggerWorld) -> None:
    first = world.push("one", oxygen=build_manifest())
    await world.take(push_body(first))
    await world.settle()
    other = trigger_manifest()
    other["metadata"] |= {"namespace": "production", "uid": "other", "resourceVersion": "1"}
    other["spec"]["gitlab"] |= {"url": URL + "/", "project": other["spec"]["gitlab"]["project"].upper()}
    world.kind.deps.triggers.put(("production", KEY[1]), other)
    world.work(Preflight="Succeeded")
    world.end_build()
    await world.settle()
    assert [name for name, _ in list_names(world, first)] == ["bessemer/oxygen/Preflight", "bessemer/site"]
    second = world.push("two", oxygen=build_manifest())
    await world.take(push_body(second))
    await world.settle()
    assert list_names(world, second) == [(f"bessemer/site ({KEY[0]})", "running")]
    other["spec"]["report"] = {"statuses": "Off"}
    other["metadata"]["resourceVersion"] = "2"
    world.kind.deps.triggers.put(("production", KEY[1]), other)
    world.end_build()
    await world.settle()
    assert list_names(world, second)[-1] == (f"bessemer/site ({KEY[0]})", "success"), "a name that was used stays"

"""What the status says is true: it is not Ready while nothing can run, and what hinders it is named."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.api.schema import compute_structural_schema
from bessemer.cli.rules import list_broken_rules
from bessemer.gitlab.protocol import GitLabUnavailable
from bessemer.kinds.runnerpool.render.manifest import END_SECONDS
from bessemer.kube.protocol import CORE_EVENTS, Kind, Object, Refused
from tests.support.pool_world import KEY, PoolWorld, manifest

REFUSED = "dial tcp 10.0.0.1:80: connect: connection refused"
HOUR = 3600


def message(world: PoolWorld, type_: str) -> str:
    return str(next(one for one in world.status()["conditions"] if one["type"] == type_)["message"])


async def try_in_vain(world: PoolWorld, times: int, said: str = REFUSED) -> None:
    """Have so many pods ask for their jobs, and end without any."""
    for _ in range(times):
        world.pass_time(600)
        world.queue()
        await world.settle()
        world.start_pods()
        for name in list(world.pods()):
            world.end_pod(name, said=said)
        await world.settle()


@pytest.mark.parametrize("said", [REFUSED, "x509: certificate signed by unknown authority", ""])
async def test_a_job_that_no_pod_is_given_is_named_with_the_runners_own_words(world: PoolWorld, said: str) -> None:
    await world.apply()
    await world.settle()
    world.queue(1001)
    await try_in_vain(world, 2, said)
    assert world.condition("Ready") == ("True", "Serving"), "another runner may have been faster"
    await try_in_vain(world, 3, said)
    assert world.condition("JobsTaken") == ("False", "JobWaits")
    assert message(world, "JobsTaken").startswith("job 1001 waits though 5 pods asked: ")
    assert (said or "the runner may be paused in GitLab, have other tags") in message(world, "JobsTaken")
    assert world.condition("Ready") == ("False", "JobWaits")
    assert message(world, "Ready") == message(world, "JobsTaken")
    assert any("job 1001 waits though 3 pods asked" in event for event in world.events("JobWaits"))


async def test_a_pool_that_runs_other_jobs_is_ready_though_one_is_given_to_none_of_its_pods(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    world.queue(1001)
    await try_in_vain(world, 4)
    assert world.condition("Ready")[0] == "False"
    world.queue(1002)
    world.pass_time(600)
    await world.settle()
    world.start_pods()
    await world.settle()
    world.pass_time(11)
    await world.settle(1)
    assert world.condition("Ready") == ("True", "Serving"), "its pod runs for longer than GitLab takes to answer"
    name = next(
        name for name, raw in world.pods().items() if raw["metadata"]["annotations"]["bessemer.dev/job"] == "1002"
    )
    world.end_pod(name, 1002)
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.condition("JobsTaken") == ("False", "JobWaits"), "which one is not is still said"
    world.gitlab.jobs.clear()
    world.queue()
    await world.settle()
    assert world.condition("JobsTaken") == ("True", "Taken")


async def test_a_manager_that_is_given_nothing_is_said_to_be(world: PoolWorld) -> None:
    kubernetes = {"type": "Kubernetes", "kubernetes": {"image": "debian"}}
    await world.apply(mode="Manager", executor=kubernetes)
    await world.settle()
    world.queue(1001)
    await world.settle()
    world.start_pods()
    await world.settle()
    assert world.condition("JobsTaken") == ("True", "Taken")
    world.pass_time(301)
    await world.settle(1)
    assert world.condition("JobsTaken") == world.condition("Ready") == ("False", "JobWaits")


async def test_a_pool_whose_access_token_expired_is_not_ready_where_no_runner_asks_for_itself(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.apply()
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")

    async def refuse(*_: Any, **__: Any) -> Any:
        raise GitLabUnavailable("401 Unauthorized")

    monkeypatch.setattr(world.gitlab, "list_pending_jobs", refuse)
    for _ in range(5):
        world.pass_time(60)
        world.queue()
        await world.settle(2)
    assert world.condition("DemandKnown")[0] == "False"
    assert world.condition("Ready") == ("False", "GitLabUnavailable")
    assert world.condition("JobsTaken")[0] == "Unknown"


async def test_without_an_access_token_a_pool_is_ready_while_min_runners_ask_and_not_else(world: PoolWorld) -> None:
    gitlab = {"url": "http://gitlab.example", "scope": {"type": "Project", "path": "hpc/simulations"}}
    night = {"name": "night", "start": "0 20 * * *", "durationSeconds": HOUR, "min": 1}
    await world.apply(gitlab=gitlab, schedules=[night])
    await world.settle()
    assert world.condition("Ready") == ("False", "NoAccessToken")
    world.pass_time(14 * HOUR)
    await world.settle()
    assert world.condition("Ready") == ("True", "DemandUnknown")


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({}, True),
        ({"schedules": [{"name": "a", "start": "0 7 * * *", "durationSeconds": 60, "min": 0}]}, True),
        ({"min": 1}, False),
        ({"schedules": [{"name": "a", "start": "0 7 * * *", "durationSeconds": 60, "min": 1}]}, False),
        ({"mode": "Manager", "executor": {"type": "Kubernetes", "kubernetes": {"image": "debian"}}}, False),
    ],
)
def test_a_pool_that_can_never_do_anything_is_refused_at_apply(spec: dict[str, Any], refused: bool) -> None:
    gitlab = {"url": "http://gitlab.example", "scope": {"type": "Instance"}}
    found = RunnerPoolSpec.model_validate(manifest(gitlab=gitlab, **spec)["spec"])
    broken = list_broken_rules(found.to_api(), compute_structural_schema(RunnerPoolSpec), "spec")
    assert [rule for rule in broken if "can't see waiting jobs" in rule] == broken
    assert bool(broken) is refused


async def test_until_jobs_were_listed_once_it_is_not_known_whether_a_pool_is_ready(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(world.gitlab, "list_pending_jobs", hang)
    await world.apply()
    await world.settle()
    assert world.condition("Ready") == ("Unknown", "NotYetPolled")


@pytest.mark.parametrize(
    "status", [{}, {"initContainerStatuses": [{"name": "config", "state": {"waiting": {"reason": "PodInitializing"}}}]}]
)
async def test_a_pod_that_hangs_before_it_starts_is_named(world: PoolWorld, status: dict[str, Any]) -> None:
    await world.apply(min=1)
    await world.settle()
    name = next(iter(world.pods()))
    world.kubernetes.edit("pods", KEY[0], name, {"spec": {"nodeName": "n"}, "status": {"phase": "Pending", **status}})
    wake = await world.step()
    assert world.condition("Ready") == ("True", "Serving")
    assert wake is not None
    assert wake <= 120
    world.pass_time(121)
    await world.settle(1)
    assert world.condition("Ready") == ("False", "PodStalled")
    assert message(world, "Ready").startswith(f"{name}: has not started for minutes")


MOUNT = 'MountVolume.SetUp failed for volume "c" : secret "not-there" not found'


def warn(world: PoolWorld, pod: str, reason: str, text: str) -> None:
    """Be the kubelet, and write an event."""
    uid = world.pods()[pod]["metadata"]["uid"]
    world.kubernetes.objects["events", KEY[0], f"{pod}.1"] = {
        "metadata": {"name": f"{pod}.1", "uid": "e", "resourceVersion": "1"},
        "involvedObject": {"uid": uid},
        "type": "Warning",
        "reason": reason,
        "message": text,
        "lastTimestamp": world.clock[0].isoformat(),
    }


def count_event_lists(world: PoolWorld) -> int:
    return sum(verb == "list" and plural == "events" for verb, plural, _ in world.kubernetes.calls)


async def open_pool_with_pending_pod(world: PoolWorld) -> str:
    await world.apply(min=1)
    await world.settle()
    name = next(iter(world.pods()))
    world.kubernetes.edit("pods", KEY[0], name, {"spec": {"nodeName": "n"}, "status": {"phase": "Pending"}})
    return name


async def test_a_volume_that_cannot_be_mounted_is_told_in_kubernetes_own_words(world: PoolWorld) -> None:
    name = await open_pool_with_pending_pod(world)
    warn(world, name, "FailedMount", MOUNT)
    await world.settle()
    assert count_event_lists(world) == 0, "a pod that may still start"
    world.pass_time(121)
    await world.settle()
    assert world.condition("Ready") == ("False", "FailedMount")
    assert message(world, "Ready") == f"{name}: {MOUNT}"
    assert world.events("FailedMount")[1:] == [f"Ready: {name}: {MOUNT}"]
    assert count_event_lists(world) == 1, "not in each pass"
    world.start_pods()
    world.kubernetes.edit("pods", KEY[0], name, {"status": {"phase": "Running"}})
    running = [{"name": "runner", "state": {"running": {"startedAt": world.clock[0].isoformat()}}}]
    world.kubernetes.edit("pods", KEY[0], name, {"status": {"containerStatuses": running}})
    world.pass_time(600)
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")
    assert (count_event_lists(world), world.memory.stall) == (1, None)


async def test_the_events_of_a_pod_that_hangs_are_read_again_each_minute(world: PoolWorld) -> None:
    name = await open_pool_with_pending_pod(world)
    world.pass_time(121)
    await world.settle()
    assert world.condition("Ready") == ("False", "PodStalled")
    warn(world, name, "Odd", "something else")
    wake = await world.step()
    assert wake is not None
    assert wake <= 60
    assert message(world, "Ready").startswith(f"{name}: has not started for minutes")
    world.pass_time(60)
    await world.settle()
    assert world.condition("Ready") == ("False", "PodStalled")
    assert message(world, "Ready") == f"{name}: Odd: something else"
    assert count_event_lists(world) == 2


async def test_a_pool_goes_on_where_events_cannot_be_read(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    name = await open_pool_with_pending_pod(world)
    warn(world, name, "FailedMount", MOUNT)
    world.pass_time(121)
    await world.settle()
    listing = world.kubernetes.list_objects

    async def refuse(kind: Kind, *arguments: Any, **options: Any) -> list[Object]:
        if kind == CORE_EVENTS:
            raise Refused("Forbidden", "events is forbidden")
        return await listing(kind, *arguments, **options)

    monkeypatch.setattr(world.kubernetes, "list_objects", refuse)
    world.pass_time(61)
    await world.settle()
    assert world.condition("Ready") == ("False", "FailedMount")


async def test_a_pod_that_cannot_be_created_is_named_though_kubernetes_has_no_message_for_it(world: PoolWorld) -> None:
    await world.apply(min=1)
    await world.settle()
    name = next(iter(world.pods()))
    waiting = [{"name": "runner", "state": {"waiting": {"reason": "CreateContainerError"}}}]
    world.kubernetes.edit(
        "pods", KEY[0], name, {"spec": {"nodeName": "n"}, "status": {"phase": "Pending", "containerStatuses": waiting}}
    )
    await world.settle(1)
    assert world.condition("Ready") == ("False", "CreateContainerError")


async def lose_node(world: PoolWorld) -> str:
    """Have a pod with a job, of a pool with one, deleted as its node is lost; no kubelet ends it."""
    await world.apply(max=1)
    await world.settle()
    world.queue(7)
    await world.settle()
    world.start_pods()
    await world.settle()
    world.gitlab.jobs.clear()
    name = next(iter(world.pods()))
    world.kubernetes.mark_deleted(world.kubernetes.objects["pods", KEY[0], name])
    world.queue(2000)
    await world.settle()
    return name


async def test_a_pod_that_was_lost_with_its_node_counts_in_max_for_its_grace_and_no_longer(world: PoolWorld) -> None:
    name = await lose_node(world)
    assert world.condition("ScalingLimited") == ("True", "Max")
    world.pass_time(HOUR + END_SECONDS)
    await world.settle(2)
    assert world.condition("ScalingLimited") == ("True", "Max"), "it may end just now"
    assert world.condition("PodsLost") == ("False", "NoneLost")
    world.pass_time(121)
    await world.settle(2)
    jobs = {raw["metadata"]["annotations"].get("bessemer.dev/job") for raw in world.pods().values()}
    assert jobs == {"7", "2000"}
    assert world.condition("PodsLost") == ("True", "PodLost")
    assert f"{name} (node n)" in message(world, "PodsLost")
    assert [event for event in world.events("PodLost") if name in event] != []
    events = len(world.events("PodLost"))
    await world.settle(3)
    assert len(world.events("PodLost")) == events, "once"
    counts = {what: world.status().get(what) for what in ("replicas", "draining")}
    assert counts == {"replicas": 1, "draining": 0}
    world.kubernetes.objects.pop(("pods", KEY[0], name))  # the Node object was deleted
    await world.settle(2)
    assert world.condition("PodsLost") == ("False", "NoneLost")


async def test_a_deleted_pool_goes_although_a_pod_was_lost_with_its_node(world: PoolWorld) -> None:
    await lose_node(world)
    world.gitlab.jobs.clear()
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])
    await world.settle(3)
    assert ("runnerpools", *KEY) in world.kubernetes.objects
    world.pass_time(HOUR + END_SECONDS + 121)
    await world.settle(4)
    assert ("runnerpools", *KEY) not in world.kubernetes.objects

"""What there is no room for, and what Kubernetes refuses: said, waited for, and shared between pools."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from bessemer.kinds.runnerpool.facts import JobPodFact
from bessemer.kinds.runnerpool.resource import RUNNER_POOLS
from bessemer.kinds.runnerpool.scaling.quota import compute_want
from bessemer.kube.protocol import PODS, RESOURCE_QUOTAS, Kind, Object, Refused
from tests.support.pool_world import KEY, PoolWorld, manifest
from tests.unit.kinds.runnerpool.scenes import build_spec


async def test_quota_leaves_jobs_waiting_and_is_said(world: PoolWorld) -> None:
    quota = {
        "metadata": {"name": "small", "namespace": KEY[0]},
        "spec": {},
        "status": {"hard": {"pods": "3"}, "used": {"pods": "2"}},
    }
    world.kubernetes.objects["resourcequotas", KEY[0], "small"] = quota
    await world.apply()
    await world.settle()
    world.queue(1, 2, 3)
    await world.step()
    await world.step()
    assert len(world.pods()) == 1
    assert world.condition("ScalingLimited") == ("True", "QuotaExceeded")


async def test_a_namespace_is_asked_for_its_quotas_only_where_it_may_have_some(world: PoolWorld) -> None:
    def count_questions() -> int:
        return sum(call[:2] == ("list", "resourcequotas") for call in world.kubernetes.calls)

    await world.apply()
    await world.settle()
    for number in (1, 2):
        world.queue(number)
        await world.settle()
        assert len(world.pods()) == number
        assert count_questions() == 1
    quota = {"metadata": {"name": "small"}, "status": {"hard": {"pods": "2"}, "used": {"pods": "2"}}}
    await world.kubernetes.create_object(RESOURCE_QUOTAS, KEY[0], quota)
    world.deps.quotas[KEY[0]].add("small")  # as the watch does
    world.queue(3)
    await world.settle()
    assert len(world.pods()) == 2
    assert count_questions() > 1


async def test_a_pod_that_is_refused_is_said(world: PoolWorld) -> None:
    def refuse(kind: Kind, body: Object) -> Refused | None:
        return Refused("Forbidden", "violates PodSecurity") if kind.plural == "pods" else None

    world.kubernetes.refuse = refuse
    await world.apply(min=1)
    await world.settle()
    assert world.condition("Ready") == ("False", "PodRefused")
    assert world.condition("ScalingLimited") == ("True", "BackOff")
    world.kubernetes.refuse = lambda _kind, _body: None
    world.pass_time(5)
    await world.settle()
    assert len(world.pods()) == 1
    assert world.condition("Ready") == ("True", "Serving")


async def test_pods_that_are_refused_are_tried_ever_more_rarely(world: PoolWorld) -> None:
    tried = []

    def refuse(kind: Kind, body: Object) -> Refused | None:
        if kind.plural == "pods":
            tried.append(world.clock[0])
            return Refused("Forbidden", "violates PodSecurity")
        return None

    world.kubernetes.refuse = refuse
    await world.apply(min=1)
    for _ in range(720):
        await world.step()
        world.pass_time(5)
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(tried)]
    assert waits[:6] == [5, 10, 20, 40, 80, 160]
    assert set(waits[6:]) == {300}
    assert world.condition("Ready") == ("False", "PodRefused")
    assert len(world.events("PodRefused")) == 1
    assert world.events("Created") == [], "nothing was"


async def test_of_pods_that_were_refused_in_part_it_is_said_how_many_were_created(world: PoolWorld) -> None:
    def refuse(kind: Kind, body: Object) -> Refused | None:
        many = kind.plural == "pods" and len(world.pods()) >= 2
        return Refused("QuotaExceeded", "exceeded quota: small") if many else None

    world.kubernetes.refuse = refuse
    await world.apply(min=3)
    await world.settle()
    assert world.events("Created") == ["2 of 3 pods; the others were refused"]


async def test_a_pool_leaves_room_to_one_of_higher_priority_and_says_so(world: PoolWorld) -> None:
    hard, used = {"pods": "3"}, {"pods": "1"}
    await world.kubernetes.create_object(
        RESOURCE_QUOTAS, KEY[0], {"metadata": {"name": "small"}, "status": {"hard": hard, "used": used}}
    )
    await world.apply(priority=5)
    await world.settle()
    urgent = build_spec(priority=9)
    for namespace in (KEY[0], "elsewhere"):
        world.deps.memories.get((namespace, "urgent")).want = compute_want(urgent, 2, world.clock[0])
    world.queue(1)
    await world.settle()
    assert world.pods() == {}
    assert world.condition("ScalingLimited") == ("True", "QuotaExceeded")
    assert world.memory.want is not None
    assert world.memory.want.priority == 5
    world.deps.memories.forget((KEY[0], "urgent"))
    await world.settle()
    assert len(world.pods()) == 1
    assert world.memory.want is None


IN_PODS = {
    "executor": {"type": "Kubernetes", "kubernetes": {"image": "debian", "resources": {"requests": {"cpu": "2"}}}},
    "pod": {"resources": {"requests": {"cpu": "100m"}}},
}
OTHER = (KEY[0], "other")


async def add_other_pool(world: PoolWorld, used: str) -> None:
    """Have two pools, whose jobs run in pods of two CPUs, share a quota that has room for one job."""
    await world.apply(**IN_PODS)
    await world.settle()
    hard = {"requests.cpu": "2300m"}
    quota = {"metadata": {"name": "small"}, "status": {"hard": hard, "used": {"requests.cpu": used}}}
    await world.kubernetes.create_object(RESOURCE_QUOTAS, KEY[0], quota)
    world.deps.quotas[KEY[0]] = {"small"}
    body = manifest(**IN_PODS)
    body["metadata"]["name"] = OTHER[1]
    await world.kubernetes.create_object(RUNNER_POOLS, KEY[0], body)
    world.hear_pool(OTHER)


async def test_room_is_kept_for_the_jobs_of_another_pools_runners_though_a_restart_has_forgotten_them(
    world: PoolWorld,
) -> None:
    await add_other_pool(world, used="100m")
    owner = {"kind": "RunnerPool", "name": "other", "controller": True}
    owner["uid"] = world.kubernetes.objects["runnerpools", *OTHER]["metadata"]["uid"]
    labels = {"bessemer.dev/pool": "other", "bessemer.dev/slot": "0"}
    metadata = {"name": "other-runner-0", "labels": labels, "ownerReferences": [owner]}
    await world.kubernetes.create_object(PODS, KEY[0], {"kind": "Pod", "metadata": metadata})
    world.queue(1)
    await world.settle()
    assert list(world.pods()) == ["other-runner-0"]
    assert world.condition("ScalingLimited") == ("True", "QuotaExceeded")
    # Its job's pod is there, and a second one fits beside it.
    status = {"hard": {"requests.cpu": "4300m"}, "used": {"requests.cpu": "2100m"}}
    world.kubernetes.edit("resourcequotas", KEY[0], "small", {"status": status})
    uid = world.pods()["other-runner-0"]["metadata"]["uid"]
    world.deps.job_pods.put(OTHER, JobPodFact("job", "uid", uid, leaving=False, deleted=False))
    await world.settle()
    assert sorted(world.pods()) == ["lab-runner-0", "other-runner-0"]


async def test_two_pools_that_look_at_a_quota_at_the_same_time_do_not_both_take_its_last_room(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_other_pool(world, used="0")
    create = world.kubernetes.create_object

    async def take_time(kind: Kind, namespace: str, body: Object) -> Object:
        await asyncio.sleep(0)
        return await create(kind, namespace, body)

    monkeypatch.setattr(world.kubernetes, "create_object", take_time)

    async def pass_over_both() -> None:
        await asyncio.gather(world.pass_over(), world.pass_over(OTHER))
        for _ in range(20):
            await asyncio.sleep(0)

    await pass_over_both()
    world.hear_pool(OTHER)
    await pass_over_both()
    world.queue(1)
    for _ in range(3):
        await pass_over_both()
    assert len(world.pods()) == 1
    assert (world.memory.begun, world.deps.memories.get(OTHER).begun) == (0, 0)

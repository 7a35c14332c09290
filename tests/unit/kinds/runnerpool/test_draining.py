"""The condition Draining: what a pool says while its last jobs run."""

from __future__ import annotations

from tests.support.pool_world import KEY, PoolWorld

MANAGED = {"managed": {}, "tags": ["hpc"]}


def explain(world: PoolWorld) -> str | None:
    """Return the message of Draining."""
    found = next(one for one in world.status()["conditions"] if one["type"] == "Draining")
    message: str | None = found.get("message")
    return message or None


async def run_jobs(world: PoolWorld, *jobs: int) -> None:
    """Have jobs run, each in a separate pod."""
    await world.apply(runner=MANAGED)
    await world.settle()
    world.queue(*jobs)
    await world.settle()
    world.start_pods()
    world.gitlab.jobs.clear()
    await world.settle()
    assert world.status()["running"] == len(jobs)


def delete_pool(world: PoolWorld) -> None:
    world.kubernetes.mark_deleted(world.kubernetes.objects["runnerpools", *KEY])


async def test_a_pool_that_is_in_use_is_not_draining(world: PoolWorld) -> None:
    await run_jobs(world, 1)
    assert world.condition("Draining") == ("False", "InUse")


async def test_a_pod_that_is_drained_alone_is_counted_and_its_pool_goes_on(world: PoolWorld) -> None:
    await run_jobs(world, 1)
    world.kubernetes.mark_deleted(world.kubernetes.objects["pods", KEY[0], "lab-runner-0"])
    await world.settle()
    assert world.condition("Draining") == ("False", "InUse")
    assert (world.status()["draining"], world.status()["running"]) == (1, 0)


async def test_a_deleted_pool_says_how_many_pods_it_waits_for_and_goes_with_the_last(world: PoolWorld) -> None:
    await run_jobs(world, 1, 2)
    delete_pool(world)
    await world.settle()
    assert world.condition("Draining") == ("True", "Deleted")
    assert world.condition("Ready") == ("False", "Deleting")
    assert (explain(world), world.status()["draining"]) == ("2 pods are left", 2)
    world.end_pod("lab-runner-1", 2)
    await world.settle()
    # The kubelet lets go of a pod that has ended; what is left of its deletion is the pod of the other job.
    world.kubernetes.objects.pop(("pods", KEY[0], "lab-runner-1"), None)
    await world.settle()
    assert world.condition("Draining") == ("True", "Deleted")
    assert explain(world) == "1 pod is left"
    assert len(world.gitlab.runners) == 2, "the runner that was given, and that of the jobs' pods"
    world.end_pod("lab-runner-0", 1)
    await world.settle()
    world.kubernetes.objects.pop(("pods", KEY[0], "lab-runner-0"), None)
    await world.settle()
    assert ("runnerpools", *KEY) not in world.kubernetes.objects
    assert set(world.gitlab.runners) == {1}


async def test_a_deleted_pool_starts_nothing_for_jobs_that_still_wait(world: PoolWorld) -> None:
    await run_jobs(world, 1)
    world.queue(2, 3)
    delete_pool(world)
    await world.settle()
    assert set(world.pods()) == {"lab-runner-0"}
    assert (world.condition("Draining"), world.status()["pending"]) == (("True", "Deleted"), 0)

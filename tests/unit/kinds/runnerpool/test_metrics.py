"""What is counted and measured of pools."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest

from bessemer.engine.plan import Reason
from bessemer.gitlab.protocol import PendingJob
from bessemer.kinds.runnerpool.facts import Demand, Facts, RunnerFact, RunnerPodFact, RunnerPodState, WaitingJob
from bessemer.kinds.runnerpool.metrics import MOST_POOLS, PoolMetrics
from bessemer.kinds.runnerpool.plan import Scaling
from tests.support.pool_world import KEY, PoolWorld
from tests.unit.kinds.runnerpool.scenes import build_pool

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAB = {"namespace": "ci", "pool": "lab"}


def build_pod(job: str | None, started: float | None, sent: float | None = None) -> RunnerPodFact:
    """Return the pod of slot 0; times are seconds after NOW."""
    return RunnerPodFact(
        name="lab-runner-0",
        uid="uid",
        owner_uid="pool",
        slot=0,
        state=RunnerPodState.STARTING if started is None else RunnerPodState.RUNNING,
        created=NOW,
        job=job,
        sent=None if sent is None else NOW + timedelta(seconds=sent),
        started=None if started is None else NOW + timedelta(seconds=started),
    )


class Watched:
    """The metrics of one pool, noted pass by pass."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = PoolMetrics(self.registry)

    def note(self, after: float, *jobs: int, pod: RunnerPodFact | None = None, known: bool = True) -> None:
        waiting = tuple(WaitingJob(PendingJob(job, "p", frozenset()), NOW) for job in jobs)
        demand = Demand(known, "Polled", jobs=waiting)
        pods = {} if pod is None else {pod.name: pod}
        facts = Facts(build_pool(), demand, RunnerFact(True, "Registered"), pods)
        self.metrics.note(
            ("ci", "lab"), facts, Scaling(reasons=(Reason("Created", "1 pod"),)), NOW + timedelta(seconds=after)
        )

    def get(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"bessemer_pool_{name}", LAB | labels)


def test_jobs_pods_and_decisions_are_counted_by_pool() -> None:
    watched = Watched()
    watched.note(0, 1, 2, pod=build_pod("1", None))
    watched.note(1, 2, pod=build_pod("1", 1))
    assert watched.get("pending_jobs") == 1
    assert (watched.get("pods", state="Starting"), watched.get("pods", state="Running")) == (0, 1)
    assert watched.get("decisions_total", reason="Created") == 2


def test_pending_jobs_that_are_not_known_are_not_shown_as_none() -> None:
    watched = Watched()
    watched.note(0, 1)
    watched.note(1, known=False)
    assert watched.get("pending_jobs") is None
    watched.note(2, known=False)
    watched.note(3)
    assert watched.get("pending_jobs") == 0


def test_a_job_waits_from_its_first_sight_to_the_start_of_its_pod_and_is_measured_once() -> None:
    watched = Watched()
    watched.note(0, 1)
    watched.note(2, 1, pod=build_pod("1", None, 2))
    for after in (9, 10):
        watched.note(after, 1, pod=build_pod("1", 8, 2))
    watched.note(11, pod=build_pod("1", 8, 2))
    watched.note(12)
    assert watched.get("wait_to_start_seconds_count") == 1
    assert watched.get("wait_to_start_seconds_sum") == 8


def test_a_pod_that_had_waited_starts_with_a_job_when_it_is_sent() -> None:
    watched = Watched()
    watched.note(100, 1, pod=build_pod(None, 5))
    watched.note(101, 1, pod=build_pod("1", 5, 101))
    assert watched.get("wait_to_start_seconds_sum") == 1


def test_a_job_that_was_cancelled_has_not_waited() -> None:
    watched = Watched()
    watched.note(0, 1)
    watched.note(1)
    watched.note(2, pod=build_pod("1", 2))
    assert watched.get("wait_to_start_seconds_count") is None


def test_a_clock_that_goes_back_gives_no_negative_time() -> None:
    watched = Watched()
    watched.note(10, 1)
    watched.note(11, 1, pod=build_pod("1", 3))
    assert watched.get("wait_to_start_seconds_sum") == 0


def test_no_more_pools_are_shown_than_a_number_and_one_that_goes_makes_room() -> None:
    watched = Watched()
    facts = Facts(build_pool(), Demand(True, "Polled"), RunnerFact(True, "Registered"), {})
    for number in range(MOST_POOLS):
        watched.metrics.note(("ci", f"pool-{number}"), facts, Scaling(), NOW)
    watched.note(0, 1)
    assert watched.get("pending_jobs") is None
    watched.metrics.forget(("ci", "lab"))
    watched.metrics.forget(("ci", "pool-0"))
    watched.note(0, 1)
    assert watched.get("pending_jobs") == 1


async def test_a_pool_that_is_gone_leaves_no_series(world: PoolWorld) -> None:
    registry = world.deps.metrics.registry
    await world.apply()
    world.queue(1001)
    await world.settle()
    world.start_pods()
    await world.settle()
    labels = {"namespace": KEY[0], "pool": KEY[1]}
    assert registry.get_sample_value("bessemer_pool_pods", labels | {"state": "Running"}) == 1
    assert registry.get_sample_value("bessemer_pool_wait_to_start_seconds_count", labels) == 1
    assert registry.get_sample_value("bessemer_pool_decisions_total", labels | {"reason": "Created"}) == 1
    del world.kubernetes.objects["runnerpools", *KEY]
    await world.step()
    assert f'pool="{KEY[1]}"' not in generate_latest(registry).decode()

"""Many pools with many waiting pods, on fake nodes: what they cost the operator, and how soon it hears of anything."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass

from tests.bench.operator_process import OperatorMemory, get_cpu_seconds, get_memory
from tests.bench.requests import send_over_api
from tests.bench.runners.fake_nodes import PLACEMENT, FakeRunners, run_fake_nodes
from tests.bench.runners.journeys import SCRIPT, find_webhooks
from tests.bench.runners.observations import PodObservation
from tests.bench.runners.scene import Scene
from tests.support.runners import PROJECT

POOL_SECONDS = 180
"""For all runners to be created in GitLab."""
FILL_SECONDS = 600
"""For all pods to run: the API server, etcd and the scheduler share the machine."""
CALM_SECONDS = 30.0
"""How long the operator is looked at while nothing happens."""
LOAD_SECONDS = 60
"""How long jobs come."""
JOBS_A_SECOND = 5
DRAIN_SECONDS = 60


@dataclass(frozen=True)
class FleetFigures:
    """What so many pods cost."""

    pools: int
    pods: int
    filled: float
    """Seconds until all pods ran."""
    memory: OperatorMemory
    calm_cpu: float
    """Share of a processor that the operator takes while no job comes."""
    load_cpu: float
    """The same while jobs come."""
    jobs: int
    load_average: float
    """Of the machine, at the end of the load."""
    webhook_lags: list[float]
    """Seconds from a job's webhook until a waiting pod was sent for it."""
    end_lags: list[float]
    """Seconds from the end of a pod until it was gone."""


def measure_fleet(scene: Scene, pools: int, pods_each: int) -> FleetFigures:
    """Fill the pools, look at the operator, then have jobs come."""
    names = [f"fleet-{number}" for number in range(pools)]
    runners = scene.runners
    pod = runners.pod | PLACEMENT
    sizes = {"min": pods_each, "max": pods_each + 10, "maxStarting": pods_each, "pod": pod}
    with run_fake_nodes(scene):
        began = time.monotonic()
        runners.kubectl.apply(*[runners.build_pool(name, [name], **sizes) for name in names])
        ready = ("wait", "runnerpool", "--all", "--for=condition=Ready", f"--timeout={POOL_SECONDS}s")
        runners.kubectl.run(*ready, timeout=POOL_SECONDS + 30)
        wanted = pools * pods_each
        scene.watch.wait_until(f"{wanted} pods run", lambda seen: count_waiting(seen) >= wanted, FILL_SECONDS)
        filled = time.monotonic() - began
        calm = measure_cpu(scene, CALM_SECONDS)
        fake = FakeRunners(send_over_api(scene.client, runners.kubectl.namespace), find_tokens(scene, names))
        scene.watch.listeners.append(fake.note)
        try:
            jobs, load = run_load(scene, names)
        finally:
            scene.watch.listeners.remove(fake.note)
            fake.close()
        figures = FleetFigures(
            pools, wanted, filled, get_memory(scene.system), calm, load, len(jobs), os.getloadavg()[0],
            *compute_lags(scene.watch.list_observations(), find_webhooks(scene.gitlab.deliveries()), set(jobs)),
        )  # fmt: skip
        runners.kubectl.run("delete", "runnerpool", *names, timeout=FILL_SECONDS)
        return figures


def find_tokens(scene: Scene, pools: list[str]) -> dict[str, str]:
    """Return the tokens of the pools' runners; each has the pool's name as its only tag."""
    return {runner["tags"][0]: runner["token"] for runner in scene.gitlab.runners() if runner["tags"][0] in pools}


def run_load(scene: Scene, names: list[str]) -> tuple[list[int], float]:
    """Have jobs come for a while; return them, and the operator's share of a processor meanwhile."""
    jobs: list[int] = []
    spent, began = get_cpu_seconds(scene.system), time.monotonic()
    for second in range(LOAD_SECONDS):
        tags = random.choices(names, k=JOBS_A_SECOND)  # noqa: S311  which pools get jobs, no secret
        specs = [{"name": f"say {tag}", "tags": [tag], "script": [SCRIPT]} for tag in tags]
        jobs += scene.gitlab.run_jobs(PROJECT, *specs)
        time.sleep(max(0.0, began + second + 1 - time.monotonic()))
    cpu = (get_cpu_seconds(scene.system) - spent) / (time.monotonic() - began)
    wanted = set(jobs)

    def are_gone(pods: list[PodObservation]) -> bool:
        return sum(pod.job in wanted and pod.gone is not None for pod in pods) >= len(wanted)

    scene.watch.wait_until("the pods of all jobs go", are_gone, DRAIN_SECONDS)
    return jobs, cpu


def measure_cpu(scene: Scene, seconds: float) -> float:
    """Return the operator's share of a processor over some time."""
    spent, began = get_cpu_seconds(scene.system), time.monotonic()
    time.sleep(seconds)
    return (get_cpu_seconds(scene.system) - spent) / (time.monotonic() - began)


def count_waiting(pods: list[PodObservation]) -> int:
    """Count the pods of the fleet that run."""
    return sum(pod.name.startswith("fleet-") and pod.running is not None and pod.gone is None for pod in pods)


def compute_lags(
    pods: list[PodObservation], webhooks: dict[int, float], jobs: set[int]
) -> tuple[list[float], list[float]]:
    """Return the seconds from webhooks to sent pods, and from the ends of pods to their going."""
    theirs = [pod for pod in pods if pod.job in jobs]
    sent = [pod.sent - webhooks[pod.job] for pod in theirs if pod.sent is not None and pod.job is not None]
    ended = [pod.gone - pod.ended for pod in theirs if pod.gone is not None and pod.ended is not None]
    return sent, ended

"""Jobs one at a time, at times that are in step with no component's polling."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.bench.builds import BenchError
from tests.bench.requests import Requests
from tests.bench.runners.journeys import SCRIPT, Journey, compute_journey, find_webhooks
from tests.bench.runners.manager import DEFAULT, TUNED, run_manager
from tests.bench.runners.observations import PodObservation
from tests.bench.runners.scene import Scene
from tests.support.runners import PROJECT

JOB_SECONDS = 60
"""For one job to come and go on a busy machine."""
LONGEST_PAUSE_SECONDS = 3.0
"""Between two jobs: as long as the interval at which gitlab-runner polls by default."""
WARM_PODS = 3


@dataclass(frozen=True)
class Lone:
    """Jobs that were run one at a time."""

    journeys: list[Journey]
    requests: Requests
    """The operator's, meanwhile."""


def measure_cold(scene: Scene, count: int) -> Lone:
    """Run jobs by a pool without any pod."""
    scene.runners.apply_pool("cold", ["cold"])
    return run_alone(scene, "cold", count, lambda _: True)


def measure_warm(scene: Scene, count: int) -> Lone:
    """Run jobs by a pool that keeps some pods waiting; each is taken when as many wait again."""
    scene.runners.apply_pool("warm", ["warm"], min=WARM_PODS, max=WARM_PODS + 2)

    def are_waiting(pods: list[PodObservation]) -> bool:
        waiting = [pod for pod in pods if pod.name.startswith("warm-") and pod.gone is None and pod.running is not None]
        return sum(pod.job is None for pod in waiting) == len(waiting) == WARM_PODS

    done = run_alone(scene, "warm", count, are_waiting)
    scene.runners.kubectl.run("delete", "runnerpool", "warm", timeout=JOB_SECONDS)
    return done


def measure_managers(scene: Scene, count: int) -> dict[str, Lone]:
    """Run jobs by GitLab's own executor, with its defaults and tuned."""
    found = {}
    for name, settings in (("default", DEFAULT), ("tuned", TUNED)):
        with run_manager(scene, name, settings):
            found[name] = run_alone(scene, name, count, lambda _: True)
    return found


def run_alone(scene: Scene, tag: str, count: int, is_ready: Callable[[list[PodObservation]], bool]) -> Lone:
    """Run jobs with a tag, each when the pod of the one before goes, and the pods are ready."""
    before, watch = scene.count_requests(), scene.watch
    numbers: list[int] = []
    for _ in range(count):
        watch.wait_until("pods are ready", is_ready, JOB_SECONDS)
        time.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS))  # noqa: S311  the distance of samples, no secret
        (job,) = scene.gitlab.run_jobs(PROJECT, {"name": f"say {tag}", "tags": [tag], "script": [SCRIPT]})
        numbers.append(job)
        watch.wait_until(f"job {job} comes and goes", partial(is_over, job), JOB_SECONDS)
    requests = scene.count_requests().subtract(before)
    return Lone(collect_journeys(scene, numbers), requests)


def is_over(job: int, pods: list[PodObservation]) -> bool:
    """Return whether a job's pod has gone, or is about to: that of the executor Kubernetes takes its grace period."""
    made_for = [pod for pod in pods if pod.job == job]
    return any(pod.gone is not None or (pod.leaving is not None and pod.name.startswith("runner-")) for pod in made_for)


def collect_journeys(scene: Scene, numbers: list[int]) -> list[Journey]:
    """Put together what is known of jobs that are over. Raises BenchError where one went wrong."""
    jobs, webhooks = scene.gitlab.jobs(), find_webhooks(scene.gitlab.deliveries())
    forgotten = {runner["id"]: runner["forgotten"] for runner in scene.gitlab.runners()}
    try:
        return [
            compute_journey(jobs[n], webhooks[n], scene.watch.get_of_job(n), forgotten[jobs[n]["runner"]])
            for n in numbers
        ]
    except ValueError as error:
        raise BenchError(str(error)) from error

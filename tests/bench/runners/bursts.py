"""Many jobs at once: from the first webhook until each has its pod."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.bench.requests import Requests
from tests.bench.runners.journeys import SCRIPT, find_webhooks
from tests.bench.runners.observations import PodObservation
from tests.bench.runners.scene import Scene
from tests.support.runners import PROJECT

BURST_SECONDS = 300
"""For all jobs of a burst to end on a busy machine."""


@dataclass(frozen=True)
class Burst:
    """Jobs that were queued in one pipeline."""

    jobs: int
    first: float
    """Seconds from the first webhook to the first pod."""
    last: float
    """Seconds from the first webhook until there were as many pods as jobs."""
    over: float
    """Seconds from the first webhook until all of them had gone."""
    requests: Requests
    """The operator's, for the whole of it."""


def measure_burst(scene: Scene, tag: str, jobs: int) -> Burst:
    """Queue jobs for a pool that has no pod, and room for all of them."""
    before, watch = scene.count_requests(), scene.watch
    numbers = scene.gitlab.run_jobs(PROJECT, *[{"name": f"say {tag}", "tags": [tag], "script": [SCRIPT]}] * jobs)
    wanted = set(numbers)

    def are_gone(pods: list[PodObservation]) -> bool:
        return sum(pod.job in wanted and pod.gone is not None for pod in pods) >= jobs

    watch.wait_until(f"the pods of {jobs} jobs come and go", are_gone, BURST_SECONDS)
    over = time.time()
    requests = scene.count_requests().subtract(before)
    webhooks = find_webhooks(scene.gitlab.deliveries())
    began = min(webhooks[number] for number in numbers)
    created = sorted(pod.created for pod in watch.list_observations() if pod.job in wanted)
    return Burst(jobs, created[0] - began, created[jobs - 1] - began, over - began, requests)

"""What is measured: pushes one at a time, and a burst. Times are seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.operator_process import OperatorMemory, get_memory
from tests.bench.requests import Requests
from tests.bench.triggers.scene import Scene
from tests.support.bursts import build_manifest, hold_burst

BUILD_SECONDS = 30.0
"""For a ClusterBuild to come of one push on a busy machine."""
BURST_SECONDS = 300.0
"""For all of a burst to be answered and followed on a busy machine."""


@dataclass(frozen=True)
class Lone:
    """Pushes that came one at a time, each with the manifest of a new ClusterBuild."""

    created: list[float]
    """From the moment GitLab sent the webhook until the ClusterBuild was seen."""
    answered: list[float]
    """How long GitLab waited for the answer to its webhook."""
    requests: Requests
    """The operator's, for all of it."""


@dataclass(frozen=True)
class Burst:
    """Many pushes whose webhooks were sent at once."""

    pushes: int
    branches: int
    answered: list[float]
    """How long GitLab waited for each answer."""
    refused: int
    """Webhooks that were not answered with 2xx."""
    last_answer: float
    """From the first webhook to the last answer."""
    followed: float
    """From the first webhook until each branch's ClusterBuild was at the last commit."""
    requests: Requests
    memory: OperatorMemory


def measure_lone(scene: Scene, pushes: int) -> Lone:
    """Push again and again, the next one when the ClusterBuild of the last was seen."""
    before, created, answered = scene.count_requests(), [], []
    for number in range(pushes):
        name = f"cluster-{number}"
        known = len(scene.gitlab.deliveries())
        commit = scene.triggers.push("main", cluster=build_manifest(name))
        seen = scene.watch.wait_for(name, commit, BUILD_SECONDS)
        (delivery,) = _wait_for_answers(scene, known, 1)
        created.append(seen - delivery["at"])
        answered.append(delivery["seconds"])
    scene.triggers.push("main", cluster=None)  # or each other branch would begin with it
    return Lone(created, answered, scene.count_requests().subtract(before))


def measure_burst(scene: Scene, pushes: int, branches: int) -> Burst:
    """Push again and again to some branches while webhooks wait, then let them all go."""
    before, known = scene.count_requests(), len(scene.gitlab.deliveries())
    burst = hold_burst(scene.gitlab, pushes, branches)
    scene.gitlab.release_deliveries()
    seen = scene.watch.wait_until(
        f"{branches} ClusterBuilds at their last commits",
        lambda seen: burst.heads.items() <= set(seen),
        BURST_SECONDS,
    )
    deliveries = _wait_for_answers(scene, known, pushes)
    began = min(one["at"] for one in deliveries)
    return Burst(
        pushes,
        branches,
        [one["seconds"] for one in deliveries],
        sum(one["status"] is None or one["status"] >= 300 for one in deliveries),
        max(one["at"] + one["seconds"] for one in deliveries) - began,
        max(seen[head] for head in burst.heads.items()) - began,
        scene.count_requests().subtract(before),
        get_memory(scene.system),
    )


def _wait_for_answers(scene: Scene, known: int, wanted: int) -> Sequence[dict[str, Any]]:
    """Return the deliveries after those that are known when all of them were answered, or failed."""

    def find() -> Sequence[dict[str, Any]] | None:
        found = scene.gitlab.deliveries()[known:]
        return found if sum(bool(one["status"] or one["error"]) for one in found) == wanted else None

    answered: Sequence[dict[str, Any]] = scene.triggers.kubectl.wait_for(
        f"{wanted} webhooks to be answered", find, BURST_SECONDS
    )
    return answered

"""What a watch sees of a pod, and when. Pure.

Times are seconds since 1970 by the clock of this machine, as the GitLab simulator on the same machine writes them too.
Kubernetes' own timestamps have a resolution of one second, and are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bessemer.api.wellknown import JOB_ANNOTATION

MADE_FOR_ANNOTATION = "bench.bessemer.dev/job"
"""Put on the pods of jobs by gitlab-runner's own executor, whose configuration asks for it."""


@dataclass(frozen=True)
class PodObservation:
    """When a pod was first seen in each state."""

    uid: str
    name: str
    created: float
    job: int | None = None
    """The job that it was sent or made for."""
    sent: float | None = None
    """When it was first seen to be for that job."""
    scheduled: float | None = None
    running: float | None = None
    """When all its containers were seen running, which is later than they run."""
    ended: float | None = None
    """When its first container was seen terminated, or the pod ended."""
    leaving: float | None = None
    """When it was first seen to be deleted, though it may take its grace period to go."""
    gone: float | None = None


def compute_observation(
    known: PodObservation | None, event: str, pod: Mapping[str, Any], seen: float
) -> PodObservation:
    """Add what a watch event (ADDED, MODIFIED, DELETED) with a raw pod says to what is known of the pod."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    observation = known or PodObservation(metadata["uid"], metadata["name"], seen)
    annotations = metadata.get("annotations") or {}
    job = annotations.get(JOB_ANNOTATION) or annotations.get(MADE_FOR_ANNOTATION) or ""
    states = [container["state"] for container in status.get("containerStatuses") or ()]
    ended = status.get("phase") in ("Succeeded", "Failed") or any("terminated" in state for state in states)
    changes: dict[str, Any] = {}
    if observation.sent is None and job.isdecimal():
        changes |= {"job": int(job), "sent": seen}
    if observation.scheduled is None and pod["spec"].get("nodeName"):
        changes["scheduled"] = seen
    if observation.running is None and states and all("running" in state for state in states):
        changes["running"] = seen
    if observation.ended is None and ended:
        changes["ended"] = seen
    if observation.leaving is None and "deletionTimestamp" in metadata:
        changes["leaving"] = seen
    if event == "DELETED":
        changes["gone"] = seen
    return replace(observation, **changes)

"""The pods that runners of the executor Kubernetes have made for jobs: which there are, and whose. Pure.

A runner deletes its job's pod at the job's end. One that is killed can't: its job's pod would go on until its deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bessemer.runnerpool.facts import JobPodFact, RunnerPodFact
from bessemer.wellknown import POOL_ANNOTATION, RUNNER_UID_LABEL


def parse_job_pod(raw: Mapping[str, Any]) -> tuple[str, JobPodFact]:
    """Give the name of the pool that a job's pod belongs to, and the pod."""
    metadata = raw["metadata"]
    phase = (raw.get("status") or {}).get("phase")
    fact = JobPodFact(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        runner_uid=(metadata.get("labels") or {}).get(RUNNER_UID_LABEL, ""),
        leaving="deletionTimestamp" in metadata or phase in ("Succeeded", "Failed"),
        deleted="deletionTimestamp" in metadata,
    )
    return (metadata.get("annotations") or {}).get(POOL_ANNOTATION, ""), fact


def list_orphans(job_pods: Iterable[JobPodFact], pods: Iterable[RunnerPodFact]) -> list[JobPodFact]:
    """List the job pods whose runner is gone, and that nobody has deleted yet."""
    alive = {pod.uid for pod in pods if pod.live}
    return [pod for pod in job_pods if pod.runner_uid not in alive and not pod.deleted]

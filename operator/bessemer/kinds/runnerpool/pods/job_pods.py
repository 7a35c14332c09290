"""The job pods created by runners of the executor Kubernetes: which exist, and for which runner. Pure.

A runner deletes its job's pod at the end of the job. A killed runner can't: its job pod would run until its deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bessemer.api.wellknown import POOL_ANNOTATION, RUNNER_UID_LABEL
from bessemer.kinds.runnerpool.facts import JobPodFact, RunnerPodFact
from bessemer.kube.podmodel import read_pod


def parse_job_pod(raw: Mapping[str, Any]) -> tuple[str, JobPodFact]:
    """Return the pool name in a job pod's labels, and the pod; any contents are accepted."""
    pod = read_pod(raw)
    metadata = pod.metadata
    fact = JobPodFact(
        name=metadata.name,
        uid=metadata.uid,
        runner_uid=metadata.labels.get(RUNNER_UID_LABEL, ""),
        leaving=metadata.deleting or pod.status.phase in ("Succeeded", "Failed"),
        deleted=metadata.deleting,
    )
    return metadata.annotations.get(POOL_ANNOTATION, ""), fact


def list_orphans(job_pods: Iterable[JobPodFact], pods: Iterable[RunnerPodFact]) -> list[JobPodFact]:
    """Return the job pods whose runner is gone and that are not being deleted yet."""
    alive = {pod.uid for pod in pods if pod.live}
    return [pod for pod in job_pods if pod.runner_uid not in alive and not pod.deleted]

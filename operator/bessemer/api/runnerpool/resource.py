"""The kind RunnerPool: how it is known to Kubernetes, and how a raw object becomes typed facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from bessemer.api.base import Resource, parse_resource
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.api.runnerpool.status import RunnerPoolStatus

KIND = "RunnerPool"
PLURAL = "runnerpools"


@dataclass(frozen=True)
class RunnerPool(Resource[RunnerPoolSpec, RunnerPoolStatus]):
    """One RunnerPool as it was read."""

    KIND = KIND


def parse_runner_pool(raw: Mapping[str, Any]) -> RunnerPool:
    """Turn the raw object into typed facts; a spec or status that can't be read is a fact too, never an exception."""
    return parse_resource(RunnerPool, RunnerPoolSpec, RunnerPoolStatus, raw)


MODELS: tuple[type[BaseModel], type[BaseModel]] = (RunnerPoolSpec, RunnerPoolStatus)
"""Spec and status, for the CRD."""
SCALE = {
    "specReplicasPath": ".spec.min",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}
"""What ``kubectl scale`` sets: the pods that are kept even without jobs."""


def _column(name: str, path: str, description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "integer", "jsonPath": path, "description": description, **more}


PRINTER_COLUMNS: tuple[dict[str, Any], ...] = (
    _column(
        "Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether jobs of the pool are run.", type="string"
    ),
    _column("Min", ".status.min", "Runner pods that are kept even without jobs."),
    _column("Max", ".spec.max", "Most runner pods at a time."),
    _column("Pending", ".status.pending", "Jobs that wait for a runner."),
    _column("Starting", ".status.starting", "Pods that do not run yet."),
    _column("Running", ".status.running", "Pods that have a job."),
    _column("Idle", ".status.idle", "Pods that wait for a job."),
    _column("Age", ".metadata.creationTimestamp", "Time since the object was created.", type="date"),
    _column(
        "Reason",
        '.status.conditions[?(@.type=="Ready")].reason',
        "Why it is ready or not.",
        type="string",
        priority=1,
    ),
)
"""Columns of ``kubectl get runnerpool``; those with priority 1 only with ``-o wide``."""

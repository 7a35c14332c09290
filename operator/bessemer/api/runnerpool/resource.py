"""The kind RunnerPool: its names and columns in Kubernetes, and how a raw object is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.api.base import ApiModel, Resource, parse_resource
from bessemer.api.runnerpool.names import KIND
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.api.runnerpool.status import RunnerPoolStatus


@dataclass(frozen=True)
class RunnerPool(Resource[RunnerPoolSpec, RunnerPoolStatus]):
    """One RunnerPool as it was read."""

    KIND = KIND


def parse_runner_pool(raw: Mapping[str, Any]) -> RunnerPool:
    """Turn a raw object into a typed one; a spec that can't be read ends up in ``spec_error``, never in an
    exception.
    """
    return parse_resource(RunnerPool, RunnerPoolSpec, RunnerPoolStatus, raw)


MODELS: tuple[type[ApiModel], type[ApiModel]] = (RunnerPoolSpec, RunnerPoolStatus)
"""Spec and status, for the CRD."""
SCALE = {
    "specReplicasPath": ".spec.min",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}
"""The scale subresource: ``kubectl scale`` sets the number of pods that are kept without jobs."""


def _column(name: str, path: str, description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "integer", "jsonPath": path, "description": description, **more}


PRINTER_COLUMNS: tuple[dict[str, Any], ...] = (
    _column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether the pool can run jobs.", type="string"),
    _column("Min", ".status.min", "Runner pods that are kept without jobs."),
    _column("Max", ".spec.max", "Maximum number of runner pods."),
    _column("Pending", ".status.pending", "Jobs that are waiting for a runner."),
    _column("Starting", ".status.starting", "Runner pods that are starting."),
    _column("Running", ".status.running", "Runner pods with a job."),
    _column("Idle", ".status.idle", "Runner pods that are waiting for a job."),
    _column("Age", ".metadata.creationTimestamp", "Time since the object was created.", type="date"),
    _column(
        "Reason",
        '.status.conditions[?(@.type=="Ready")].reason',
        "Why the pool is ready or not.",
        type="string",
        priority=1,
    ),
)
"""Columns of ``kubectl get runnerpool``; those with priority 1 only with ``-o wide``."""

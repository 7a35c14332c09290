"""The kind RunnerPool: how it is known to Kubernetes, and how a raw object becomes typed facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from bessemer.resource import GROUP, VERSION, explain_validation_error, parse_lenient, parse_time
from bessemer.runnerpool.spec import RunnerPoolSpec
from bessemer.runnerpool.status import RunnerPoolStatus

KIND = "RunnerPool"
PLURAL = "runnerpools"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True)
class RunnerPool:
    """One RunnerPool as it was read: metadata that matters, spec (or why it can't be read) and status."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    deleted: datetime | None
    finalizers: tuple[str, ...]
    spec: RunnerPoolSpec | None
    spec_error: str = ""
    status: RunnerPoolStatus = field(default_factory=RunnerPoolStatus)

    def reference(self) -> dict[str, str]:
        """Give what events about the pool refer to it by."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
        }

    def owner_reference(self) -> dict[str, Any]:
        """Give the owner reference that objects of this pool carry."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def parse_runner_pool(raw: Mapping[str, Any]) -> RunnerPool:
    """Turn the raw object into typed facts; a spec or status that can't be read is a fact too, never an exception."""
    metadata = raw["metadata"]
    spec, spec_error = None, ""
    try:
        spec = RunnerPoolSpec.model_validate(raw.get("spec") or {})
    except ValidationError as error:
        spec_error = explain_validation_error(error)
    return RunnerPool(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 1)),
        resource_version=metadata.get("resourceVersion", ""),
        deleted=parse_time(metadata.get("deletionTimestamp")),
        finalizers=tuple(metadata.get("finalizers") or ()),
        spec=spec,
        spec_error=spec_error,
        status=parse_lenient(RunnerPoolStatus, raw.get("status") or {}),
    )


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

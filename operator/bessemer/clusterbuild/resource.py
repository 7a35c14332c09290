"""The kind ClusterBuild: how it is known to Kubernetes, and how a raw object becomes typed facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from bessemer.clusterbuild.spec import ClusterBuildSpec
from bessemer.clusterbuild.status import ClusterBuildStatus
from bessemer.resource import GROUP, VERSION, explain_validation_error, parse_lenient, parse_time

KIND = "ClusterBuild"
PLURAL = "clusterbuilds"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True)
class ClusterBuild:
    """One ClusterBuild as it was read: metadata that matters, spec (or why it can't be read) and status."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created: datetime | None
    deleted: datetime | None
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]
    spec: ClusterBuildSpec | None
    spec_error: str
    status: ClusterBuildStatus = field(default_factory=ClusterBuildStatus)

    def owner_reference(self) -> dict[str, Any]:
        """Give the owner reference that objects of this build carry."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def parse_cluster_build(raw: Mapping[str, Any]) -> ClusterBuild:
    """Turn the raw object into typed facts; a spec or status that can't be read is a fact too, never an exception."""
    metadata = raw["metadata"]
    spec, spec_error = None, ""
    try:
        spec = ClusterBuildSpec.model_validate(raw.get("spec") or {})
    except ValidationError as error:
        spec_error = explain_validation_error(error)
    return ClusterBuild(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 1)),
        resource_version=metadata.get("resourceVersion", ""),
        created=parse_time(metadata.get("creationTimestamp")),
        deleted=parse_time(metadata.get("deletionTimestamp")),
        annotations=dict(metadata.get("annotations") or {}),
        finalizers=tuple(metadata.get("finalizers") or ()),
        spec=spec,
        spec_error=spec_error,
        status=parse_lenient(ClusterBuildStatus, raw.get("status") or {}),
    )


MODELS: tuple[type[BaseModel], type[BaseModel]] = (ClusterBuildSpec, ClusterBuildStatus)
"""Spec and status, for the CRD."""
PRINTER_COLUMNS: tuple[dict[str, Any], ...] = (
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
        "description": "Whether the cluster is verified for this spec.",
    },
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "description": "Where the build is."},
    {
        "name": "Nodes",
        "type": "integer",
        "jsonPath": ".status.nodes.desired",
        "description": "Compute nodes that the spec asks for.",
    },
    {
        "name": "Failed",
        "type": "integer",
        "jsonPath": ".status.nodes.failed",
        "description": "Compute nodes that failed.",
    },
    {
        "name": "Elapsed",
        "type": "string",
        "jsonPath": ".status.elapsed",
        "description": "How long the build took or has taken so far.",
    },
    {
        "name": "Age",
        "type": "date",
        "jsonPath": ".metadata.creationTimestamp",
        "description": "Time since the object was created.",
    },
    {
        "name": "Reason",
        "type": "string",
        "priority": 1,
        "jsonPath": '.status.conditions[?(@.type=="Progressing")].reason',
        "description": "What the build waits for or why it rests.",
    },
)
"""Columns of ``kubectl get clusterbuild``; those with priority 1 only with ``-o wide``."""

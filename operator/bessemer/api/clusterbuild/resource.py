"""The kind ClusterBuild: how it is known to Kubernetes, and how a raw object becomes typed facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from bessemer.api.base import Resource, parse_resource
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.clusterbuild.status import ClusterBuildStatus

KIND = "ClusterBuild"
PLURAL = "clusterbuilds"


@dataclass(frozen=True)
class ClusterBuild(Resource[ClusterBuildSpec, ClusterBuildStatus]):
    """One ClusterBuild as it was read."""

    KIND = KIND


def parse_cluster_build(raw: Mapping[str, Any]) -> ClusterBuild:
    """Turn the raw object into typed facts; a spec or status that can't be read is a fact too, never an exception."""
    return parse_resource(ClusterBuild, ClusterBuildSpec, ClusterBuildStatus, raw)


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

"""The kind ClusterBuild: its names and columns in Kubernetes, and how a raw object is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.api.base import ApiModel, Resource, parse_resource
from bessemer.api.clusterbuild.names import KIND
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.clusterbuild.status import ClusterBuildStatus


@dataclass(frozen=True)
class ClusterBuild(Resource[ClusterBuildSpec, ClusterBuildStatus]):
    """One ClusterBuild as it was read."""

    KIND = KIND


def parse_cluster_build(raw: Mapping[str, Any]) -> ClusterBuild:
    """Turn a raw object into a typed one; a spec that can't be read ends up in ``spec_error``, never in an
    exception.
    """
    return parse_resource(ClusterBuild, ClusterBuildSpec, ClusterBuildStatus, raw)


MODELS: tuple[type[ApiModel], type[ApiModel]] = (ClusterBuildSpec, ClusterBuildStatus)
"""Spec and status, for the CRD."""
PRINTER_COLUMNS: tuple[dict[str, Any], ...] = (
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
        "description": "Whether the cluster is verified for this spec.",
    },
    {
        "name": "Phase",
        "type": "string",
        "jsonPath": ".status.phase",
        "description": "The current phase, or the result of the build.",
    },
    {
        "name": "Nodes",
        "type": "integer",
        "jsonPath": ".status.nodes.desired",
        "description": "Compute nodes in the spec.",
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
        "description": "How long the build took, or has been running.",
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
        "description": "What the build is doing or waiting for, or why it stopped.",
    },
)
"""Columns of ``kubectl get clusterbuild``; those with priority 1 only with ``-o wide``."""

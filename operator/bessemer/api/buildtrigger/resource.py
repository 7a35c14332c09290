"""The kind BuildTrigger: its names and columns in Kubernetes, and how a raw object is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.api.base import ApiModel, Resource, parse_resource
from bessemer.api.buildtrigger.names import KIND as KIND  # noqa: PLC0414  a part of this module
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.api.buildtrigger.status import BuildTriggerStatus


@dataclass(frozen=True)
class BuildTrigger(Resource[BuildTriggerSpec, BuildTriggerStatus]):
    """One BuildTrigger as it was read."""

    KIND = KIND


def parse_build_trigger(raw: Mapping[str, Any]) -> BuildTrigger:
    """Turn a raw object into a typed one; a spec that can't be read ends up in ``spec_error``, never in an
    exception.
    """
    return parse_resource(BuildTrigger, BuildTriggerSpec, BuildTriggerStatus, raw)


MODELS: tuple[type[ApiModel], type[ApiModel]] = (BuildTriggerSpec, BuildTriggerStatus)
"""Spec and status, for the CRD."""


def _column(name: str, path: str, description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "string", "jsonPath": path, "description": description, **more}


PRINTER_COLUMNS: tuple[dict[str, Any], ...] = (
    _column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether events lead to builds."),
    _column("Last event", ".status.lastEvent", "The latest event."),
    _column("Last result", ".status.lastResult", "What became of the latest finished event."),
    _column("Active", ".status.active", "Clusters that are being built.", type="integer"),
    _column("Queued", ".status.queued", "Events that wait.", type="integer"),
    _column("Age", ".metadata.creationTimestamp", "Time since the object was created.", type="date"),
    _column("Reason", '.status.conditions[?(@.type=="Ready")].reason', "Why it is ready or not.", priority=1),
)
"""Columns of ``kubectl get buildtrigger``; those with priority 1 only with ``-o wide``."""

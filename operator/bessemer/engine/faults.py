"""The effect of a failed pass on its object.

It is a condition and an Event, or, after the deletion deadline, the removal of the finalizer. Works on raw objects,
because the contents of the object may be the cause of the failure. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bessemer.api.base import Condition
from bessemer.api.group import API_VERSION
from bessemer.api.reasons import CLEANUP_ABANDONED, INTERNAL_ERROR
from bessemer.engine.conditions import Verdict, compute_conditions
from bessemer.engine.deadline import compute_patience
from bessemer.foreign import Unreadable, parse_int, parse_time


@dataclass(frozen=True)
class Fault:
    """Why a pass failed, as shown to users."""

    reason: str
    message: str


def explain_fault(error: Exception) -> Fault:
    """Return the Fault of an unexpected error: its type only, because its message may contain anything."""
    return Fault(INTERNAL_ERROR, f"{type(error).__name__}: a fault in Bessemer, the operator's log says where")


@dataclass(frozen=True)
class FaultNotice:
    """What must be written for a fault: first the Event, then the patch of the object."""

    reference: dict[str, str]
    """Reference to the object for its Events."""
    event: Fault
    patch: dict[str, Any]
    subresource: str
    """Subresource to patch; empty: the object itself, which is then finalized."""


def decide_fault(
    raw: Mapping[str, Any], fault: Fault, kind: str, finalizer: str, deletion_seconds: int, now: datetime
) -> FaultNotice | None:
    """Return what must be written for a fault on an object of a kind; None if the object already shows it.

    If the object was deleted more than ``deletion_seconds`` ago, its finalizer is removed instead.
    """
    reference = build_reference(raw, kind)
    if is_overdue(raw, deletion_seconds, now):
        text = f"not done within {deletion_seconds} s: {fault.reason}: {fault.message}"
        return FaultNotice(reference, Fault(CLEANUP_ABANDONED, text), build_release(raw, finalizer), "")
    patch = build_fault_status(raw, fault, now)
    return None if patch is None else FaultNotice(reference, fault, patch, "status")


def build_fault_status(raw: Mapping[str, Any], fault: Fault, now: datetime) -> dict[str, Any] | None:
    """Return the status patch whose condition Ready shows the fault; None if the status already shows it.

    All other conditions stay unchanged; unreadable ones are dropped.
    """
    status = raw.get("status")
    given = status.get("conditions") if isinstance(status, Mapping) else None
    found = [condition for condition in given if isinstance(condition, dict)] if isinstance(given, list) else []
    metadata = raw["metadata"]
    try:
        generation = parse_int(metadata.get("generation"))
    except Unreadable:
        generation = 0
    before = [parsed for each in found if (parsed := _parse_condition(each)) is not None]
    ready = Verdict("Ready", "False", fault.reason, fault.message)
    last = next((condition for condition in before if condition.type == ready.type), None)
    if last is not None and (last.status, last.reason, last.message) == (ready.status, ready.reason, ready.message):
        return None
    (new,) = compute_conditions([ready], before, generation, now)
    others = [condition.to_api() for condition in before if condition.type != ready.type]
    return {"status": {"conditions": [new.to_api(), *others]}}


def is_overdue(raw: Mapping[str, Any], deletion_seconds: int, now: datetime) -> bool:
    """Return whether the deletion deadline of an object has passed."""
    try:
        deleted = parse_time(raw["metadata"].get("deletionTimestamp"))
    except Unreadable:
        return False
    return compute_patience(deleted, deletion_seconds, now) <= 0


def build_release(raw: Mapping[str, Any], finalizer: str) -> dict[str, Any]:
    """Return the patch that removes our finalizer."""
    found = raw["metadata"].get("finalizers") or []
    return {"metadata": {"finalizers": [name for name in found if name != finalizer]}}


def build_reference(raw: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Return the reference to the object for its Events."""
    metadata = raw["metadata"]
    own = {name: str(metadata.get(name, "")) for name in ("namespace", "name", "uid")}
    return {"apiVersion": API_VERSION, "kind": kind, **own}


def _parse_condition(raw: dict[str, Any]) -> Condition | None:
    try:
        return Condition.model_validate(raw)
    except ValueError:
        return None

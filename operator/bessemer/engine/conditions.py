"""Conditions: all are computed in each pass; a transition time changes only when the condition's status changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bessemer.api.base import Condition
from bessemer.foreign import make_text

Truth = Literal["True", "False", "Unknown"]
MESSAGE_LIMIT = 4096
"""Characters. Far below the API's limit of 32768, so that a status with all conditions stays small."""


@dataclass(frozen=True)
class Verdict:
    """A condition without its transition time."""

    type: str
    status: Truth
    reason: str
    message: str = ""


def compute_conditions(
    verdicts: list[Verdict], previous: list[Condition], generation: int, now: datetime
) -> list[Condition]:
    """Return verdicts as conditions; those with an unchanged status keep their transition time."""
    before = {condition.type: condition for condition in previous}
    conditions = []
    for verdict in verdicts:
        last = before.get(verdict.type)
        kept = last is not None and last.status == verdict.status
        conditions.append(
            Condition(
                type=verdict.type,
                status=verdict.status,
                reason=verdict.reason,
                message=make_text(verdict.message, MESSAGE_LIMIT),
                observed_generation=generation,
                last_transition_time=last.last_transition_time if last is not None and kept else now,
            )
        )
    return conditions

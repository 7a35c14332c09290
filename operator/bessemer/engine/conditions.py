"""Conditions: set whole each pass, with a transition time that moves only when the status flips."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bessemer.api.base import Condition
from bessemer.foreign import make_text

Truth = Literal["True", "False", "Unknown"]
MESSAGE_LIMIT = 4096
"""Characters; far below the API's 32768, so that a status with all conditions stays small."""


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
    """Turn verdicts into conditions, keeping the transition time of those whose status has not changed."""
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

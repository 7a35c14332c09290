"""Content of an Event, before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EventFact:
    """Reason and message of an Event about an object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str

"""What is worth telling about an object, before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EventFact:
    """Something worth telling about an object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str

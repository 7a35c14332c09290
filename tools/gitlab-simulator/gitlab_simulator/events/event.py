"""An event for webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """Which hooks want it (``push_events``), the header X-Gitlab-Event (``Push Hook``), whose it is, what it says."""

    wanted_by: str
    header: str
    project_id: int
    body: dict[str, Any]

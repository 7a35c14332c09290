"""What a decision of any kind consists of. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from bessemer.api.base import ApiModel
from bessemer.engine.event_facts import EventFact


@dataclass(frozen=True)
class Reason:
    """Why a step is taken."""

    reason: str
    """One CamelCase word."""
    message: str


class Plan(Protocol):
    """What was decided in one step."""

    @property
    def step(self) -> object | None:
        """What must be executed before the next decision; None: the pass comes to its end."""

    @property
    def reasons(self) -> Iterable[Reason]:
        """Why the step is taken; logged."""

    @property
    def status(self) -> ApiModel:
        """The whole status, written at the end of the pass where it differs."""

    @property
    def events(self) -> Iterable[EventFact]:
        """What is worth telling of the change of the status; recorded once that is written."""

    @property
    def wake_after(self) -> float | None:
        """Seconds until time alone makes the next pass due; None: it does not."""

    @property
    def finalize(self) -> bool:
        """Whether the object is deleted and nothing of it is left: the finalizer is taken off."""

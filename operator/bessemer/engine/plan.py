"""The interface of every kind's decision. Pure."""

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
    """The decision for one step."""

    @property
    def step(self) -> object | None:
        """Step to execute before the next decision; None: the pass ends."""

    @property
    def reasons(self) -> Iterable[Reason]:
        """Why the step is taken; logged."""

    @property
    def status(self) -> ApiModel:
        """The whole status, written at the end of the pass if it differs."""

    @property
    def events(self) -> Iterable[EventFact]:
        """Events for the changes of the status; recorded once the status is written."""

    @property
    def wake_after(self) -> float | None:
        """Seconds until time alone makes the next pass due; None: it does not."""

    @property
    def finalize(self) -> bool:
        """Whether the object is deleted and its clean-up is complete: the finalizer is removed."""

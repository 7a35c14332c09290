"""What the life of a pool's runner consists of: questions to GitLab, steps that change something, and why each. Pure.

At most one at a time is decided; its answer becomes a fact, and the next is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bessemer.engine.event_facts import EventFact
from bessemer.errors import BessemerError
from bessemer.gitlab.protocol import RunnerRequest, Scope
from bessemer.kinds.runnerpool.demand.interest import Polls
from bessemer.kinds.runnerpool.facts import RunnerFact


@dataclass(frozen=True)
class VerifyToken:
    """Ask GitLab whose token that is."""

    token: str = field(repr=False)


@dataclass(frozen=True)
class ListRunners:
    """Ask GitLab which runners have the pool's marker."""

    scope: Scope


Question = VerifyToken | ListRunners
"""Changes nothing."""


@dataclass(frozen=True)
class StartPolls:
    """Poll GitLab for waiting jobs."""

    polls: Polls


@dataclass(frozen=True)
class StopPolls:
    """Poll GitLab for this pool's jobs no longer."""


@dataclass(frozen=True)
class CreateServiceAccount:
    """Create the account of runners that create pods for jobs."""


@dataclass(frozen=True)
class CreateRoleBinding:
    """Bind that account to the chart's role for it."""


@dataclass(frozen=True)
class WriteRunnerSecret:
    """Make the pool's Secret hold these values and no others."""

    values: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class CreateRunner:
    """Create a runner in GitLab, and write its record to the pool's Secret with the very next request."""

    request: RunnerRequest


@dataclass(frozen=True)
class UpdateRunner:
    """Change the runner's settings in GitLab."""

    runner_id: int
    request: RunnerRequest


@dataclass(frozen=True)
class RotateToken:
    """Rotate the runner token in GitLab, and write the new one to the pool's Secret with the very next request."""

    runner_id: int
    refused: bool
    """Whether because GitLab refuses the one it has."""


@dataclass(frozen=True)
class DeleteRunner:
    """Delete a runner in GitLab."""

    runner_id: int


@dataclass(frozen=True)
class LeaveRunner:
    """Forget a runner that can't be deleted."""

    runner_id: int


@dataclass(frozen=True)
class ForgetManager:
    """Delete the runner manager in GitLab of a slot whose pod is gone."""

    slot: int
    system_id: str


@dataclass(frozen=True)
class KeepManager:
    """Leave the runner manager of a slot alone: the slot's next pod uses it."""

    slot: int


@dataclass(frozen=True)
class RemoveFinalizer:
    """Remove the finalizer of the pool."""


Step = (
    StartPolls
    | StopPolls
    | CreateServiceAccount
    | CreateRoleBinding
    | WriteRunnerSecret
    | CreateRunner
    | UpdateRunner
    | RotateToken
    | DeleteRunner
    | LeaveRunner
    | ForgetManager
    | KeepManager
    | RemoveFinalizer
)


@dataclass(frozen=True)
class Settled:
    """Nothing is left to do: the runner is as the spec wants it."""

    fact: RunnerFact
    token: str = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """One decision: a question, a step, or how things stand when there is neither."""

    step: Question | Step | None
    reason: str
    """Why, as one CamelCase word."""
    message: str = ""
    """What it is about, in a sentence."""
    event: EventFact | None = None
    """To be recorded when the step is done, or at once where there is none."""
    settled: Settled | None = None
    failure: BessemerError | None = None
    """What keeps the runner from being as the spec wants it."""
    wait: float | None = None
    """Seconds until the same is tried again, where that is decided here."""

    def __str__(self) -> str:
        name = type(self.step).__name__ if self.step is not None else "rest" if self.wait is None else "wait"
        wait = "" if self.wait is None else f" [{self.wait:g} s]"
        return f"{name}, {self.reason}{f': {self.message}' if self.message else ''}{wait}"

"""Decisions about a pool's runner: questions to GitLab, and steps that change something, with reasons. Pure.

At most one is decided at a time; its answer becomes a fact for the next decision.
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
    """Ask GitLab which runner a token belongs to."""

    token: str = field(repr=False)


@dataclass(frozen=True)
class ListRunners:
    """List the runners in GitLab with the pool's marker."""

    scope: Scope


Question = VerifyToken | ListRunners
"""Changes nothing."""


@dataclass(frozen=True)
class StartPolls:
    """Start polling GitLab for waiting jobs."""

    polls: Polls


@dataclass(frozen=True)
class StopPolls:
    """Stop polling GitLab for this pool's jobs."""


@dataclass(frozen=True)
class CreateServiceAccount:
    """Create the ServiceAccount of runners that create pods for jobs."""


@dataclass(frozen=True)
class CreateRoleBinding:
    """Bind that account to the chart's role."""


@dataclass(frozen=True)
class WriteRunnerSecret:
    """Set the values of the pool's Secret, and remove all others."""

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
    """Whether GitLab refuses the current token."""


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
    """Delete the runner manager of a slot in GitLab after its pod is gone."""

    slot: int
    system_id: str


@dataclass(frozen=True)
class KeepManager:
    """Keep the runner manager of a slot: the slot's next pod uses it."""

    slot: int


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
)


@dataclass(frozen=True)
class Settled:
    """No step is left: the runner is as the spec wants it."""

    fact: RunnerFact
    token: str = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """One decision: a question, a step, or the state if there is neither."""

    step: Question | Step | None
    reason: str
    """Why, as one CamelCase word."""
    message: str = ""
    """Details in a sentence."""
    event: EventFact | None = None
    """Recorded when the step has been executed, or at once if there is none."""
    settled: Settled | None = None
    failure: BessemerError | None = None
    """Why the runner is not as the spec wants it."""
    wait: float | None = None
    """Seconds until the next try, if decided here."""
    ended: bool = False
    """Nothing about the runner holds the deleted pool any more."""

    def __str__(self) -> str:
        state = "end" if self.ended else "rest" if self.wait is None else "wait"
        name = type(self.step).__name__ if self.step is not None else state
        wait = "" if self.wait is None else f" [{self.wait:g} s]"
        return f"{name}, {self.reason}{f': {self.message}' if self.message else ''}{wait}"

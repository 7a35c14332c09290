"""What the operator tells a job of GitLab about the build that it has asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import Field

from bessemer.api.base import ApiModel, PrintableLine, PrintableText

MOST_BYTES = 64 * 1024
"""Of an answer: a replica that stands by forwards no longer ones."""


class PhaseLine(ApiModel):
    """One phase of a build."""

    name: PrintableLine = Field(max_length=64)
    state: PrintableLine = Field(max_length=32)
    attempt: int = Field(default=0, ge=0)
    reason: PrintableLine = Field(default="", max_length=128)
    message: PrintableText = Field(default="", max_length=2048)
    started: datetime | None = None
    ended: datetime | None = None


class VerifyLine(ApiModel):
    """One verification job on the cluster."""

    name: PrintableLine = Field(max_length=63)
    passed: bool
    state: PrintableLine = Field(default="", max_length=64)
    nodes: PrintableLine = Field(default="", max_length=512)
    message: PrintableText = Field(default="", max_length=1024)
    output: PrintableText = Field(default="", max_length=1024)


class BuildProgress(ApiModel):
    """One ClusterBuild."""

    namespace: PrintableLine = Field(max_length=63)
    name: PrintableLine = Field(max_length=253)
    phase: PrintableLine = Field(default="", max_length=64)
    elapsed: PrintableLine = Field(default="", max_length=32)
    ready: bool = False
    reason: PrintableLine = Field(default="", max_length=1024)
    message: PrintableText = Field(default="", max_length=2048)
    address: PrintableLine = Field(default="", max_length=253)
    """Address of the management node, as the operator reaches it."""
    phases: list[PhaseLine] = Field(default_factory=list, max_length=16)
    activity: PrintableLine = Field(default="", max_length=512)
    """What the running phase is doing."""
    nodes: PrintableLine = Field(default="", max_length=128)
    """Numbers of compute nodes, in words."""
    verification: list[VerifyLine] = Field(default_factory=list, max_length=16)


LOG_LINES, LINE_CHARACTERS = 200, 1024
"""Of one answer."""


@dataclass(frozen=True)
class LogQuery:
    """Which lines of a phase's log a job wants to be told, as the query of its request for the progress."""

    build: str
    phase: str
    attempt: int
    after: str = ""
    """The lines after this place, which is ``after`` of the answer before; empty: from the beginning."""
    last: int = 0
    """Only so many lines from the end; 0: all."""

    def to_query(self) -> dict[str, str]:
        """Return it as the query of a URL."""
        query = {"build": self.build, "phase": self.phase, "attempt": str(self.attempt), "after": self.after}
        return query | ({"last": str(self.last)} if self.last else {})


class PhaseLog(ApiModel):
    """Lines of the log of a phase's attempt."""

    lines: list[PrintableLine] = Field(default_factory=list, max_length=LOG_LINES)
    after: PrintableLine = Field(default="", max_length=64)
    """The place up to which it was read."""
    more: bool = False
    """Whether there are more lines already."""
    problem: PrintableLine = Field(default="", max_length=1024)
    """Why the log can't be read now."""


class JobProgress(ApiModel):
    """How far what a job has asked for is."""

    record: PrintableLine = Field(max_length=253)
    """Name of the event's record, with which the job asks again."""
    commit: PrintableLine = Field(default="", max_length=64)
    state: PrintableLine = Field(max_length=32)
    """State of the event, as in status.events of the trigger."""
    reason: PrintableLine = Field(default="", max_length=128)
    message: PrintableText = Field(default="", max_length=2048)
    final: bool = False
    """Whether nothing more will change."""
    unwanted: bool = False
    """Whether the job has aborted it."""
    builds: list[BuildProgress] = Field(default_factory=list, max_length=64)
    log: PhaseLog | None = None
    """What the request has asked for; None: nothing, or of an attempt that is no more."""


class Refusal(ApiModel):
    """Why a request was refused."""

    reason: PrintableLine = Field(default="", max_length=128)
    message: PrintableText = Field(default="", max_length=2048)

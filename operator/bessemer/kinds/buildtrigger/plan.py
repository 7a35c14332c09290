"""A decision: a step to execute, the status to write, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bessemer.api.buildtrigger.status import BuildTriggerStatus
from bessemer.engine.event_facts import EventFact
from bessemer.engine.plan import Reason
from bessemer.gitlab.protocol import Head
from bessemer.kinds.buildtrigger.facts import Lost
from bessemer.kinds.buildtrigger.manifests import Cluster
from bessemer.kinds.buildtrigger.records import Outcome, Record, RecordedEvent
from bessemer.kinds.buildtrigger.reported import ReportStep


@dataclass(frozen=True)
class CheckToken:
    """Ask GitLab when the access token ends."""


@dataclass(frozen=True)
class ReadRefs:
    """Ask GitLab where all branches and tags point."""


@dataclass(frozen=True)
class CheckHook:
    """Ask GitLab how the webhook is, and what it could not deliver."""

    path: str
    """With which the webhook's URL ends."""
    since: datetime
    """Since when deliveries count."""


@dataclass(frozen=True)
class Resend:
    """Have GitLab send an event again."""

    lost: Lost


@dataclass(frozen=True)
class RecordMissed:
    """Record an event of which no webhook has told."""

    event: RecordedEvent


@dataclass(frozen=True)
class ReadHead:
    """Ask GitLab where a branch or tag points."""

    project: str
    ref: str


@dataclass(frozen=True)
class ResolveEvent:
    """Read the manifests at the commit of an event, and check them."""

    record: Record
    head: Head
    """Where the ref points."""


@dataclass(frozen=True)
class RecordAgain:
    """Record the latest event once more, because a user asked for it."""

    record: Record
    again: str


@dataclass(frozen=True)
class SettleEvents:
    """Write the outcomes of events."""

    outcomes: tuple[tuple[Record, Outcome], ...]


@dataclass(frozen=True)
class ApplyBuild:
    """Create or change one ClusterBuild of an event."""

    record: Record
    rule: str
    cluster: Cluster


@dataclass(frozen=True)
class AbortBuild:
    """Abort the ClusterBuild of an earlier event, so that a later one can replace it."""

    build: str
    record: Record


@dataclass(frozen=True)
class StopBuild:
    """Abort a ClusterBuild whose job is over, or does not want it any more."""

    build: str
    record: Record


@dataclass(frozen=True)
class AskJob:
    """Ask GitLab whether a job still runs."""

    record: Record


@dataclass(frozen=True)
class ResumeBuild:
    """Withdraw the order to abort, now that the ClusterBuild is that of the later event."""

    build: str
    event: str
    """Name of the record of that event."""


@dataclass(frozen=True)
class DeleteBuild:
    """Delete a ClusterBuild."""

    build: str
    uid: str


@dataclass(frozen=True)
class ForgetRecords:
    """Delete the records of finished events."""

    names: tuple[str, ...]


Step = (
    CheckToken
    | ReadRefs
    | CheckHook
    | Resend
    | RecordMissed
    | ReadHead
    | ResolveEvent
    | RecordAgain
    | SettleEvents
    | ApplyBuild
    | AbortBuild
    | StopBuild
    | AskJob
    | ResumeBuild
    | DeleteBuild
    | ForgetRecords
    | ReportStep
)


@dataclass(frozen=True)
class Move:
    """The next step and its reason."""

    reason: str
    """One CamelCase word."""
    message: str
    step: Step | None = None
    wake_after: float | None = None
    """Seconds until time alone changes the decision."""
    finalize: bool = False
    """Whether the trigger's deletion is complete."""


@dataclass(frozen=True)
class Plan:
    """The whole decision of one step."""

    status: BuildTriggerStatus
    move: Move
    events: tuple[EventFact, ...] = ()

    @property
    def step(self) -> Step | None:
        """Step to execute before the next decision."""
        return self.move.step

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the step is taken."""
        return (Reason(self.move.reason, self.move.message),)

    @property
    def wake_after(self) -> float | None:
        """Seconds until the next pass is due if no event arrives."""
        return self.move.wake_after

    @property
    def finalize(self) -> bool:
        """Whether the trigger's deletion is complete."""
        return self.move.finalize

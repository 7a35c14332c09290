"""A decision about a pool: the actions on pods with their reasons, and the status to write."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from bessemer.engine.plan import Reason
from bessemer.kinds.runnerpool.facts import JobPodFact, RunnerPodFact

CREATED = "Created"
"""Reason for creating pods."""


@dataclass(frozen=True)
class CreatePod:
    """Create the pod of a free slot."""

    slot: int
    job: str | None
    """Job to send it for at once; None: it waits."""


@dataclass(frozen=True)
class SendPod:
    """Send a waiting pod for a job."""

    pod: RunnerPodFact
    job: str


@dataclass(frozen=True)
class RetirePod:
    """Delete a pod that has no job; let one that may have a job finish it and take no other."""

    pod: RunnerPodFact
    reason: str


@dataclass(frozen=True)
class CollectPod:
    """Remove an ended pod, and its runner manager's record in GitLab."""

    pod: RunnerPodFact


@dataclass(frozen=True)
class EndJobPod:
    """Delete a job pod whose runner was killed: no runner waits for its result."""

    pod: JobPodFact


Action = CreatePod | SendPod | RetirePod | CollectPod | EndJobPod


@dataclass(frozen=True)
class Limit:
    """Why fewer pods are created than jobs wait."""

    reason: str
    message: str


@dataclass(frozen=True)
class Scaling:
    """Actions on the pods."""

    actions: tuple[Action, ...] = ()
    reasons: tuple[Reason, ...] = ()
    """One for each type of decision."""
    limit: Limit | None = None
    wake_after: timedelta | None = None
    """Time until the next decision is due even without an event."""
    unserved: int = field(default=0, compare=False)
    """Jobs without a pod, because of a limit."""

    def correct(self, refused: int) -> Scaling:
        """Return the plan with its reasons updated after Kubernetes has refused so many of the pods."""
        wanted = sum(isinstance(action, CreatePod) for action in self.actions)
        others = tuple(reason for reason in self.reasons if reason.reason != CREATED)
        some = (Reason(CREATED, f"{wanted - refused} of {wanted} pods; the others were refused"),)
        return replace(self, reasons=others + (some if wanted > refused else ()))


@dataclass(frozen=True)
class CloseVanished:
    """Clean up in GitLab after pods that disappeared without our action."""

    pods: tuple[RunnerPodFact, ...]


@dataclass(frozen=True)
class MeasureHeadroom:
    """Read the namespace's quotas: only a pool that wants to create pods needs them."""


@dataclass(frozen=True)
class ScalePods:
    """Execute the actions on pods concurrently."""

    scaling: Scaling


@dataclass(frozen=True)
class EndRunner:
    """Begin to delete in GitLab everything that belongs to the runner of a deleted pool."""


Step = CloseVanished | MeasureHeadroom | ScalePods | EndRunner

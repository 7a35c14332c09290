"""What a decision about a pool consists of: what to do with which pod, and why; and the status to write."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from bessemer.kinds.runnerpool.facts import JobPodFact, RunnerPodFact

CREATED = "Created"
"""The reason that says that pods were created."""


@dataclass(frozen=True)
class CreatePod:
    """Create the pod of a free slot."""

    slot: int
    job: str | None
    """What to send it for at once; None: it waits."""


@dataclass(frozen=True)
class SendPod:
    """Send a waiting pod for a job."""

    pod: RunnerPodFact
    job: str


@dataclass(frozen=True)
class RetirePod:
    """Delete a pod that has no job, or let one that may have a job finish it and take no other."""

    pod: RunnerPodFact
    reason: str


@dataclass(frozen=True)
class CollectPod:
    """Remove a pod that has ended, and its manager's record in GitLab."""

    pod: RunnerPodFact


@dataclass(frozen=True)
class EndJobPod:
    """Delete a job pod whose runner was killed: no runner waits for its result any more."""

    pod: JobPodFact


Action = CreatePod | SendPod | RetirePod | CollectPod | EndJobPod


@dataclass(frozen=True)
class Limit:
    """Why fewer pods are created than there are jobs for."""

    reason: str
    message: str


@dataclass(frozen=True)
class Scaling:
    """What to do with the pods."""

    actions: tuple[Action, ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()
    """Why: pairs of one CamelCase word and a sentence, one for each kind of decision."""
    limit: Limit | None = None
    wake_after: timedelta | None = None
    """When time alone makes another decision due."""
    unserved: int = field(default=0, compare=False)
    """Jobs without a pod, because of a limit."""

    def correct(self, refused: int) -> Scaling:
        """Return the plan with its reasons updated after Kubernetes has refused so many of the pods."""
        wanted = sum(isinstance(action, CreatePod) for action in self.actions)
        others = tuple(reason for reason in self.reasons if reason[0] != CREATED)
        some = ((CREATED, f"{wanted - refused} of {wanted} pods; the others were refused"),)
        return replace(self, reasons=others + (some if wanted > refused else ()))


@dataclass(frozen=True)
class CloseVanished:
    """Settle with GitLab what pods have left that went without our doing."""

    pods: tuple[RunnerPodFact, ...]


@dataclass(frozen=True)
class MeasureHeadroom:
    """Look at the namespace's quotas: only a pool that wants to create pods needs to know them."""


@dataclass(frozen=True)
class ScalePods:
    """Carry out what was decided for the pods, side by side."""

    scaling: Scaling


@dataclass(frozen=True)
class KeepRunner:
    """Have the GitLab runner be as the spec wants it, and GitLab forget the managers of pods that are gone."""


@dataclass(frozen=True)
class EndRunner:
    """Have GitLab delete what it has of the runner of a pool that goes, as far as it can be told in time."""


Step = KeepRunner | CloseVanished | MeasureHeadroom | ScalePods | EndRunner

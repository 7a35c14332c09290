"""What a decision consists of: steps to carry out, the status to write, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bessemer.api.clusterbuild.status import ClusterBuildStatus, PhaseStatus
from bessemer.api.phase_contract import PhaseName
from bessemer.engine.event_facts import EventFact
from bessemer.engine.plan import Reason
from bessemer.kinds.clusterbuild.claims import Claim


@dataclass(frozen=True)
class CreateSecret:
    """Make the build's seed, key and progress token."""


@dataclass(frozen=True)
class ClaimMachines:
    """Take all of these Leases, or none where another build holds one of them."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class StartAttempt:
    """Create the input and the pod of one attempt of one phase."""

    phase: PhaseName
    attempt: int
    input_digest: str
    power_off: bool = False
    keep_persistent: bool = False
    """Whether Cleanup leaves the boot entries that stateless nodes need at every boot."""


@dataclass(frozen=True)
class StopPod:
    """Delete a running pod, with its grace period."""

    pod: str
    uid: str


Step = CreateSecret | ClaimMachines | StartAttempt | StopPod


@dataclass(frozen=True)
class ForgetPod:
    """Take our finalizer off a pod whose result stands in the status."""

    pod: str


@dataclass(frozen=True)
class DeletePod:
    """Delete a finished pod that is kept no longer, and its input."""

    pod: str
    uid: str


@dataclass(frozen=True)
class ReleaseMachines:
    """Release these Leases."""

    leases: tuple[str, ...]


Afterwork = ForgetPod | DeletePod | ReleaseMachines


class Outlook(StrEnum):
    """How the build stands, as the conditions Ready and Progressing tell it."""

    WORKING = "Working"
    WAITING = "Waiting"
    READY = "Ready"
    FAILED = "Failed"
    ABORTED = "Aborted"
    PAUSED = "Paused"
    DELETING = "Deleting"


FINAL_OUTLOOKS = frozenset({Outlook.READY, Outlook.FAILED, Outlook.ABORTED})
"""Outlooks of a settled build: nothing happens until a user changes something."""


@dataclass(frozen=True)
class Move:
    """The next step, the state of the build meanwhile, and the reason."""

    outlook: Outlook
    reason: str
    """One CamelCase word; stands in the condition Progressing."""
    message: str = ""
    step: Step | None = None
    phase: PhaseName | None = None
    """The phase that this is about."""
    wake_after: float | None = None
    """Seconds until the passage of time alone changes the decision."""
    finalize: bool = False
    """Whether the build's deletion is complete."""


@dataclass(frozen=True)
class Plan:
    """The whole decision of one pass."""

    status: ClusterBuildStatus
    move: Move
    afterwork: tuple[Afterwork, ...] = ()
    """What may be done once the status is written, and not before."""
    wake_after: float | None = None
    """Seconds until the next pass is due if nothing is heard meanwhile."""
    settled: tuple[PhaseStatus, ...] = ()
    """Attempts whose end was learned in this pass."""
    events: tuple[EventFact, ...] = ()
    """What is told once the status is written."""

    @property
    def step(self) -> Step | None:
        """The step before the status is written; after it, decide again with new facts."""
        return self.move.step

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the step is taken."""
        return (Reason(self.move.reason, self.move.message),)

    @property
    def finalize(self) -> bool:
        """Whether the build's deletion is complete."""
        return self.move.finalize

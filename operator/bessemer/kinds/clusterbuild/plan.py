"""A decision: steps to execute, the status to write, and the reasons."""

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
    """Create the build's seed, key and progress token."""


@dataclass(frozen=True)
class ClaimMachines:
    """Take all of these Leases, or none if another build holds one of them."""

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
    """Remove our finalizer from a pod whose result is in the status."""

    pod: str


@dataclass(frozen=True)
class DeletePod:
    """Delete a finished pod that is no longer kept, and its input."""

    pod: str
    uid: str


@dataclass(frozen=True)
class ReleaseMachines:
    """Release these Leases."""

    leases: tuple[str, ...]


Afterwork = ForgetPod | DeletePod | ReleaseMachines


class Outlook(StrEnum):
    """State of the build as shown by the conditions Ready and Progressing."""

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
    """One CamelCase word; shown in the condition Progressing."""
    message: str = ""
    step: Step | None = None
    phase: PhaseName | None = None
    """The phase of the step."""
    wake_after: float | None = None
    """Seconds until time alone changes the decision."""
    finalize: bool = False
    """Whether the build's deletion is complete."""


@dataclass(frozen=True)
class Plan:
    """The whole decision of one pass."""

    status: ClusterBuildStatus
    move: Move
    afterwork: tuple[Afterwork, ...] = ()
    """Work that must not happen before the status is written."""
    wake_after: float | None = None
    """Seconds until the next pass is due if no event arrives."""
    settled: tuple[PhaseStatus, ...] = ()
    """Attempts whose end was discovered in this pass."""
    events: tuple[EventFact, ...] = ()
    """Events to record once the status is written."""

    @property
    def step(self) -> Step | None:
        """Step to execute before the status is written; after it, decide again with the new facts."""
        return self.move.step

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the step is taken."""
        return (Reason(self.move.reason, self.move.message),)

    @property
    def finalize(self) -> bool:
        """Whether the build's deletion is complete."""
        return self.move.finalize

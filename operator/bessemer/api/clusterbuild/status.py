"""The status of a ClusterBuild.

Each reconcile pass computes all of it and writes it once. ``phase`` is for people; no decision depends on it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from bessemer.api.base import ATOMIC_LIST, ApiModel, Condition, Conditioned, PrintableLine, PrintableText, list_map
from bessemer.api.phase_contract import JobResult, NodeGroup, PhaseName


class PhaseState(StrEnum):
    """The state of a phase."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class PhaseStatus(ApiModel):
    """The state of one phase."""

    name: PhaseName
    """Name of the phase."""
    state: PhaseState = PhaseState.PENDING
    """State of the phase. After Failed, there may be another attempt."""
    attempt: int = Field(default=0, ge=0)
    """Number of the latest attempt, counted over the lifetime of the build."""
    failures: int = Field(default=0, ge=0)
    """Number of attempts that failed or were lost since the count was last reset."""
    retryable: bool = False
    """Whether another attempt may succeed."""
    pod: str | None = Field(default=None, max_length=253)
    """Name of the pod of the latest attempt; its log is the log of the phase."""
    pod_uid: str | None = Field(default=None, max_length=64)
    """UID of that pod; a pod with another UID is not accepted as the attempt's pod."""
    start_time: datetime | None = None
    """When the latest attempt started."""
    end_time: datetime | None = None
    """When the latest attempt ended."""
    reason: PrintableLine | None = Field(default=None, max_length=128)
    """Why the phase is in its state, as one CamelCase word."""
    message: PrintableText | None = Field(default=None, max_length=2048)
    """Why the phase is in its state, in a sentence."""
    input_digest: str | None = Field(default=None, max_length=64)
    """Digest of the parts of the spec that the latest attempt depends on."""


class NodesStatus(ApiModel):
    """The state of the compute nodes."""

    desired: int = Field(default=0, ge=0)
    """Number of compute nodes in the spec."""
    installed: int = Field(default=0, ge=0)
    """Number of nodes with an installed operating system."""
    ready: int = Field(default=0, ge=0)
    """Number of nodes that have run a verification job."""
    failed: int = Field(default=0, ge=0)
    """Number of nodes that failed in the last attempt."""
    groups: list[NodeGroup] = Field(default_factory=list, max_length=1024, json_schema_extra=ATOMIC_LIST)
    """The nodes grouped by state, as reported by the finished phases."""
    hosts: PrintableLine = Field(default="", max_length=4096)
    """The hostlist of the spec that groups and fingerprints refer to."""
    fingerprints: str = Field(default="", max_length=16384)
    """Eight hexadecimal digits for each of hosts: a digest of the node's install settings. A node whose digits
    change is reinstalled."""
    removed: PrintableLine = Field(default="", max_length=4096)
    """Nodes that were removed from the spec and have yet to be drained and removed from Slurm."""


class PhaseProgress(ApiModel):
    """Progress of the running phase, as it reports itself; for people only."""

    phase: PhaseName
    """The running phase."""
    message: PrintableLine = Field(default="", max_length=256)
    """Current activity."""
    done: int = Field(default=0, ge=0)
    """Number of finished steps."""
    total: int = Field(default=0, ge=0)
    """Total number of steps; 0 if it is not known."""
    nodes: list[NodeGroup] = Field(default_factory=list, max_length=1024, json_schema_extra=ATOMIC_LIST)
    """Current state of the compute nodes, as the phase sees them."""


class ClusterBuildStatus(Conditioned):
    """The observed state of the build."""

    observed_generation: int = Field(default=0, ge=0)
    """The generation of the spec that this status was computed from."""
    phase: PrintableLine = Field(default="Pending", max_length=64)
    """Summary for people: the name of the current phase, Ready, Failed, Aborted or Deleting."""
    start_time: datetime | None = None
    """When work on the current spec started."""
    end_time: datetime | None = None
    """When the build finished, ready or not."""
    elapsed: PrintableLine = Field(default="", max_length=32)
    """Time between startTime and endTime, such as 4m10s; updated every ten seconds while the build is running."""
    ssh_public_key: PrintableLine | None = Field(default=None, max_length=1024)
    """Public key that Bessemer generated, which must be authorized on the boot host; absent if the spec names a key."""
    phases: list[PhaseStatus] = Field(default_factory=list, max_length=16, json_schema_extra=list_map("name"))
    """The phases in order."""
    nodes: NodesStatus = NodesStatus()
    """The compute nodes."""
    jobs: list[JobResult] = Field(default_factory=list, max_length=16, json_schema_extra=list_map("name"))
    """The verification jobs of the latest attempt of Verify."""
    progress: PhaseProgress | None = None
    """Progress of the running phase."""
    handled_retry: str | None = Field(default=None, max_length=1024)
    """The last value of the annotation bessemer.dev/retry that was acted upon."""
    conditions: list[Condition] = Field(default_factory=list, max_length=32, json_schema_extra=list_map("type"))
    """Conditions of the build."""

    def phase_status(self, name: PhaseName) -> PhaseStatus:
        """Return the status of one phase; Pending if it is not listed."""
        return next((phase for phase in self.phases if phase.name == name), PhaseStatus(name=name))

"""The status of a ClusterBuild: what has become of what the user asked for.

It is computed whole and written once in each pass of the reconcile. ``phase`` is for people; nothing branches on it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from bessemer.api.base import ATOMIC_LIST, ApiModel, Condition, PrintableLine, PrintableText, list_map
from bessemer.api.phase_contract import JobResult, NodeGroup, PhaseName


class PhaseState(StrEnum):
    """How far a phase has come."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class PhaseStatus(ApiModel):
    """What became of one phase."""

    name: PhaseName
    """The phase."""
    state: PhaseState = PhaseState.PENDING
    """How far it has come; Failed may yet be followed by another attempt."""
    attempt: int = Field(default=0, ge=0)
    """The number of its latest attempt, counted over the life of the build."""
    failures: int = Field(default=0, ge=0)
    """Attempts that failed or were lost since the budget was last renewed."""
    retryable: bool = False
    """Whether another attempt may help where it failed."""
    pod: str | None = Field(default=None, max_length=253)
    """The pod of the latest attempt; its log is the log of the phase."""
    pod_uid: str | None = Field(default=None, max_length=64)
    """Its UID, as Kubernetes gave it when it was created: no other pod is taken for it."""
    start_time: datetime | None = None
    """When the latest attempt began."""
    end_time: datetime | None = None
    """When the latest attempt ended."""
    reason: PrintableLine | None = Field(default=None, max_length=128)
    """Why it is in its state, as one CamelCase word."""
    message: PrintableText | None = Field(default=None, max_length=2048)
    """Why it is in its state, in a sentence."""
    input_digest: str | None = Field(default=None, max_length=64)
    """Digest of the parts of the spec that the latest attempt was started with."""


class NodesStatus(ApiModel):
    """What became of the compute nodes."""

    desired: int = Field(default=0, ge=0)
    """How many the spec asks for."""
    installed: int = Field(default=0, ge=0)
    """How many have their operating system."""
    ready: int = Field(default=0, ge=0)
    """How many have run a verified job."""
    failed: int = Field(default=0, ge=0)
    """How many failed for good in the last attempt."""
    groups: list[NodeGroup] = Field(default_factory=list, max_length=1024, json_schema_extra=ATOMIC_LIST)
    """The nodes, alike ones as one range, as the finished phases found them."""
    hosts: PrintableLine = Field(default="", max_length=4096)
    """The hostlist of the spec that groups and fingerprints are about."""
    fingerprints: str = Field(default="", max_length=16384)
    """Eight hexadecimal digits for each of hosts, over what it is installed with; a node whose digits change is
    installed anew."""
    removed: PrintableLine = Field(default="", max_length=4096)
    """Nodes that left the spec and are still to be drained and taken out of Slurm."""


class PhaseProgress(ApiModel):
    """How far the running phase is, as it says itself; for people."""

    phase: PhaseName
    """The phase that runs."""
    message: PrintableLine = Field(default="", max_length=256)
    """What it is doing."""
    done: int = Field(default=0, ge=0)
    """Steps done."""
    total: int = Field(default=0, ge=0)
    """Steps in all; 0 where not known."""
    nodes: list[NodeGroup] = Field(default_factory=list, max_length=1024, json_schema_extra=ATOMIC_LIST)
    """Compute nodes as the phase sees them now."""


class ClusterBuildStatus(ApiModel):
    """What has become of the build."""

    observed_generation: int = Field(default=0, ge=0)
    """The generation of the spec that this status was computed from."""
    phase: PrintableLine = Field(default="Pending", max_length=64)
    """Where the build is, for people: a phase's name, Ready, Failed, Aborted or Deleting."""
    start_time: datetime | None = None
    """When work on the present spec began."""
    end_time: datetime | None = None
    """When it ended: the build came to rest, ready or not."""
    elapsed: PrintableLine = Field(default="", max_length=32)
    """Time between the two, such as 4m10s; while the build runs it is brought up to date every ten seconds."""
    ssh_public_key: PrintableLine | None = Field(default=None, max_length=1024)
    """Public half of the key that Bessemer made, to be authorized on the boot host; absent where one was given."""
    phases: list[PhaseStatus] = Field(default_factory=list, max_length=16, json_schema_extra=list_map("name"))
    """The phases in their order."""
    nodes: NodesStatus = NodesStatus()
    """The compute nodes."""
    jobs: list[JobResult] = Field(default_factory=list, max_length=16, json_schema_extra=list_map("name"))
    """The verification jobs of the latest attempt of Verify."""
    progress: PhaseProgress | None = None
    """How far the running phase is."""
    handled_retry: str | None = Field(default=None, max_length=1024)
    """The value of the annotation bessemer.dev/retry that was last acted upon."""
    conditions: list[Condition] = Field(default_factory=list, max_length=32, json_schema_extra=list_map("type"))
    """How the build is, aspect by aspect."""

    def phase_status(self, name: PhaseName) -> PhaseStatus:
        """Give what became of one phase; one that was never looked at is pending."""
        return next((phase for phase in self.phases if phase.name == name), PhaseStatus(name=name))

    def condition(self, type_: str) -> Condition | None:
        """Give one condition, None where it was never set."""
        return next((condition for condition in self.conditions if condition.type == type_), None)

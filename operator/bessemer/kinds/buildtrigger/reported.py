"""What GitLab is known to have been told of an event, and the steps by which it is told more. Pure.

Correctness does not depend on what is remembered: a process first reads what GitLab has of an event.
Only the pipeline, and whether all is told, are in the event's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import Field

from bessemer.api.base import ApiModel, PrintableLine
from bessemer.gitlab.reports import CommitStatus, Deployment, NewDeployment, NewStatus, State, Target

MOST_LABEL = 128


class ReportState(ApiModel):
    """The durable part; written before GitLab is told anything of an event."""

    ref: PrintableLine = Field(default="", max_length=300)
    """The ref of the pipeline."""
    pipeline: int | None = Field(default=None, ge=1)
    """The pipeline with the statuses; None until GitLab has answered for the first time."""
    label: PrintableLine = Field(default="", max_length=MOST_LABEL)
    """What tells the names of its statuses from those of others for the same commit; empty: nothing has to."""
    done: bool = False
    """Whether all is told, and nothing can follow."""


@dataclass(frozen=True)
class KnownNote:
    """The note on one merge request."""

    id: int | None = None
    """None: there is none."""
    body: str = ""
    """Its text, as it was last read or written."""
    discussion: str | None = None
    resolved: bool = False
    written: datetime | None = None
    """When it was last written in this process."""


@dataclass(frozen=True)
class Refusal:
    """Why GitLab does not take a part of what it is told; that part is not repeated."""

    reason: str
    message: str


@dataclass(frozen=True)
class Known:
    """What GitLab has of one event, as far as this process knows."""

    merge_requests: tuple[int, ...] | None = None
    """The merge requests of the commit; None: not asked yet."""
    asked_last: bool = False
    """Whether they were asked for after the event had ended: one may have been opened while its builds went on."""
    read: bool = False
    """Whether the statuses were read since the last one was set."""
    statuses: Mapping[str, State] | None = None
    """By their names; None: not read yet."""
    strays: tuple[CommitStatus, ...] = ()
    """Statuses of these names that are open in another pipeline."""
    target: Target | None = None
    """Where statuses go, from the merge request's pipeline or the answer to the first status."""
    notes: Mapping[int, KnownNote] = field(default_factory=dict)
    """By the numbers of merge requests."""
    deployments: Mapping[str, Deployment | None] = field(default_factory=dict)
    """By the names of ClusterBuilds; None: there is none."""
    pipeline_lost: bool = False
    """Whether the recorded pipeline was not found, and another one is used."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """By the part that GitLab does not take: name of a status, "statuses", "notes", "discussions" or
    "deployments"."""


@dataclass(frozen=True)
class ReportingFact:
    """How the last calls went."""

    reason: str = ""
    """Why the last call failed, as one CamelCase word; empty if it did not."""
    message: str = ""
    retry_at: datetime | None = None
    """When GitLab may be told more after a failed call."""


@dataclass(frozen=True)
class RecordReport:
    """Write the durable part into the record of an event."""

    event: str
    state: ReportState


@dataclass(frozen=True)
class FindMergeRequests:
    """Ask which merge requests a commit belongs to, and which pipelines these wait for."""

    event: str
    target: Target
    last: bool = False
    """Whether the event has ended."""


@dataclass(frozen=True)
class ReadStatuses:
    """Read what statuses there are."""

    event: str
    target: Target
    names: frozenset[str]
    """Only these are the event's."""


@dataclass(frozen=True)
class SendStatus:
    """Set a status."""

    event: str
    target: Target
    status: NewStatus


@dataclass(frozen=True)
class FindNote:
    """Look for the note on a merge request."""

    event: str
    iid: int
    marker: str


@dataclass(frozen=True)
class WriteNote:
    """Write the note on a merge request."""

    event: str
    iid: int
    body: str
    known: KnownNote
    discussion: bool


@dataclass(frozen=True)
class ResolveNote:
    """Resolve the discussion on a merge request, or open it again."""

    event: str
    iid: int
    known: KnownNote
    resolved: bool


@dataclass(frozen=True)
class FindDeployment:
    """Look for the deployment of a build."""

    event: str
    build: str
    environment: str
    commit: str


@dataclass(frozen=True)
class CreateDeployment:
    """Create the deployment of a build."""

    event: str
    build: str
    deployment: NewDeployment


@dataclass(frozen=True)
class UpdateDeployment:
    """Change the state of the deployment of a build."""

    event: str
    build: str
    known: Deployment
    state: str


StatusStep = ReadStatuses | SendStatus
NoteStep = FindMergeRequests | FindNote | WriteNote | ResolveNote
DeploymentStep = FindDeployment | CreateDeployment | UpdateDeployment
ReportCall = StatusStep | NoteStep | DeploymentStep
"""Steps that ask GitLab."""
ReportStep = RecordReport | ReportCall

"""Input of a decision: everything that one pass has read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bessemer.api.buildtrigger.resource import BuildTrigger
from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.clusterbuild.status import ClusterBuildStatus
from bessemer.gitlab.hooklog import Delivery, Hook
from bessemer.gitlab.protocol import Head
from bessemer.kinds.buildtrigger.manifests import Cluster
from bessemer.kinds.buildtrigger.records import Place, Records
from bessemer.kinds.buildtrigger.reported import Known, ReportingFact
from bessemer.kinds.buildtrigger.rules import Ignored


class BuildState(StrEnum):
    """What a ClusterBuild is doing."""

    BUILDING = "Building"
    READY = "Ready"
    FAILED = "Failed"


@dataclass(frozen=True)
class BuildFact:
    """A ClusterBuild of the trigger."""

    name: str
    uid: str
    state: BuildState
    reason: str = ""
    """Why it is in this state; of a finished one."""
    message: str = ""
    event: str = ""
    """Name of the record that it was last changed for."""
    commit: str = ""
    ref: str = ""
    project: str = ""
    rule: str = ""
    aborting: bool = False
    """Whether it has the annotation to abort because a later event replaces it."""
    unwanted: str = ""
    """Name of the record whose job does not want it any more, if it has the annotation to abort because of that."""
    deleting: bool = False
    details: ClusterBuildStatus | None = None
    """Its status; None until it is about the current spec."""
    spec: ClusterBuildSpec | None = None
    """None: it can't be read."""


@dataclass(frozen=True)
class Problem:
    """Why something can't be used at the moment."""

    reason: str
    message: str


@dataclass(frozen=True)
class SourceFact:
    """What is known of GitLab and the access token, from earlier calls."""

    asked: bool = False
    """Whether GitLab was asked anything since the operator was started."""
    problem: Problem | None = None
    """Why the last call failed."""
    retry_at: datetime | None = None
    """When GitLab may be asked again after a failed call."""
    refs_read: datetime | None = None
    """When the branches and tags were last read."""
    refs_problem: Problem | None = None
    """Why they could not be compared, although GitLab answers."""
    expiry_read: datetime | None = None
    """When the expiry of the access token was read."""
    expires_at: datetime | None = None


@dataclass(frozen=True)
class HeadFact:
    """Where a branch or tag points."""

    head: Head | None
    """None: there is no such branch or tag."""
    read_at: datetime
    unreadable: str = ""
    """Why GitLab's answer can't be read, although there may be one; empty if it was read."""
    events: frozenset[str] = frozenset()
    """Names of the records that were there when it was read."""


@dataclass(frozen=True)
class Resolution:
    """What an event leads to: the files at its commit were read."""

    rule: str
    clusters: tuple[Cluster, ...] = ()
    planned: bool = False
    """Whether the rule has mode Plan."""
    refusal: Problem | None = None
    """Why the manifests can't be used."""


Answer = Resolution | Ignored


@dataclass(frozen=True)
class JobFact:
    """What is known of a job that waits for its build."""

    heard_at: datetime
    """When it was last heard of: it asked how far its build is."""
    over: bool = False
    """Whether GitLab says that it does not run any more."""
    asked_at: datetime | None = None
    """When GitLab last answered the question whether it runs."""


@dataclass(frozen=True)
class Listed:
    """What GitLab says of a webhook."""

    hook: Hook
    deliveries: tuple[Delivery, ...]
    """The latest first."""


@dataclass(frozen=True)
class Lost:
    """An event that GitLab could not deliver."""

    hook: int
    delivery: int
    kind: str
    """object_kind of the event."""


@dataclass(frozen=True)
class HookFact:
    """What is known of the webhook."""

    heard_at: datetime | None = None
    """When the last authenticated webhook arrived since the operator was started."""
    checked_at: datetime | None = None
    """When GitLab was last asked how the webhook is, and has answered or refused that."""
    settled: datetime | None = None
    """Before this time, nothing is left to be sent again."""
    listed: tuple[Listed, ...] | None = None
    """The webhooks that lead to the trigger; None: not known."""
    lost: tuple[Lost, ...] = ()
    """Events to be sent again."""
    problem: Problem | None = None
    """Why GitLab does not tell, or does not send again."""
    retry_at: datetime | None = None
    """When GitLab may be asked again after a call that has failed."""


@dataclass(frozen=True)
class Facts:
    """All facts about a trigger in one pass."""

    trigger: BuildTrigger
    records: Records
    builds: tuple[BuildFact, ...] = ()
    access: Problem | None = None
    """Which Secret can't be used, and why."""
    source: SourceFact = SourceFact()
    hook: HookFact = HookFact()
    heads: Mapping[Place, HeadFact] = field(default_factory=dict)
    """By project and full name of the ref."""
    answers: Mapping[str, Answer] = field(default_factory=dict)
    """What events lead to, by the names of their records."""
    unread: frozenset[str] = frozenset()
    """Projects of the group, in lower case, whose branches and tags could not be read the last time."""
    refs: Mapping[Place, Head] | None = None
    """Where branches and tags with a rule pointed when all were last read, by their full names; None: not since the
    start."""
    jobs: Mapping[str, JobFact] = field(default_factory=dict)
    """Jobs that wait for a build, by the names of their records."""
    refusals: Mapping[str, Problem] = field(default_factory=dict)
    """Why Kubernetes refused the ClusterBuild of an event in this pass, by the names of records."""
    reports: Mapping[str, Known] = field(default_factory=dict)
    """What GitLab is known to have been told of events, by the names of their records."""
    reporting: ReportingFact = field(default_factory=ReportingFact)
    shares_project: bool = False
    """Whether a trigger in another namespace tells the same project of GitLab of commits."""
    deletion_seconds: int = 900
    steps: int = 0
    """Number of steps that were executed in this pass."""

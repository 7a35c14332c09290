"""The interface of the GitLab client for what becomes of a commit: statuses, notes and deployments.

Access token: ``api``, of a Developer of the project; of one who may merge, for protected branches.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bessemer.errors import Retry


class GitLabBusy(Retry):
    """Another update of the same commit is in progress."""

    def __init__(self, message: str) -> None:
        super().__init__("GitLabBusy", message)


class State(StrEnum):
    """The states of a commit status that can be reported."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    SKIPPED = "skipped"


OPEN = frozenset({State.PENDING, State.RUNNING})
"""States in which a pipeline waits for a status. GitLab changes only those; after any other there is a new status."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline, and the commit and ref that it is for."""

    id: int
    commit: str
    ref: str


@dataclass(frozen=True)
class Target:
    """The commit that statuses are for."""

    project: str
    """Full path."""
    commit: str
    ref: str
    """Name of the branch or tag, without refs/heads/, or the ref of a merge request's pipeline."""
    pipeline: int | None = None
    """The pipeline that the statuses go to; None: the latest of the commit and ref, or a new one."""


@dataclass(frozen=True)
class NewStatus:
    """A status to report."""

    name: str
    """At most 255 characters."""
    state: State
    description: str = ""
    """At most 255 characters."""
    url: str | None = None


@dataclass(frozen=True)
class CommitStatus:
    """A status as GitLab has it."""

    name: str
    state: State
    pipeline: int | None = None


@dataclass(frozen=True)
class MergeRequest:
    """A merge request."""

    iid: int
    commit: str
    """Its head."""
    from_fork: bool
    """Whether its branch is in another project."""
    branch: str = ""
    """Its source branch."""
    pipeline: Pipeline | None = None
    """Its head pipeline, in whichever project."""


@dataclass(frozen=True)
class Note:
    """A note of the access token's user on a merge request."""

    id: int
    body: str
    discussion: str | None = None
    """Its discussion, where that can be resolved."""
    resolved: bool = False


@dataclass(frozen=True)
class Deployment:
    """A deployment as GitLab has it."""

    id: int
    state: str
    """Such as created, running, success, failed, canceled."""


@dataclass(frozen=True)
class NewDeployment:
    """A deployment to create."""

    environment: str
    commit: str
    ref: str
    """Name of the branch or tag."""
    tag: bool
    state: str = "running"
    """Running, success, failed or canceled."""


class Reports(Protocol):
    """What the operator writes into a project. Each call ends within a bounded time.

    Raises the errors of :class:`bessemer.gitlab.protocol.GitLab`. ``project`` is a full path.
    """

    async def list_statuses(self, target: Target, prefix: str) -> list[CommitStatus]:
        """List the current external statuses of a commit and ref whose names begin with a prefix."""
        ...

    async def set_status(self, target: Target, status: NewStatus) -> CommitStatus:
        """Report a status; return what GitLab has afterwards.

        The answer has another state than was reported where GitLab can't go there, also where it is in that state
        already. Raises GitLabBusy where the commit is locked.
        """
        ...

    async def list_merge_requests(self, project: str, commit: str) -> list[MergeRequest]:
        """List the merge requests whose head, or whose result, a commit is; without their pipelines."""
        ...

    async def get_merge_request(self, project: str, iid: int) -> MergeRequest:
        """Return a merge request."""
        ...

    async def find_note(self, project: str, iid: int, marker: str) -> Note | None:
        """Return the first note of the access token's user that contains the marker."""
        ...

    async def create_note(self, project: str, iid: int, body: str, *, discussion: bool) -> Note:
        """Write a note, as the beginning of a discussion or not. Not idempotent: ask ``find_note`` first."""
        ...

    async def update_note(self, project: str, iid: int, note: int, body: str) -> None:
        """Replace the text of a note; raises GitLabNotFound if it was deleted."""
        ...

    async def resolve_discussion(self, project: str, iid: int, discussion: str, *, resolved: bool) -> None:
        """Resolve a discussion, or open it again. Idempotent."""
        ...

    async def find_deployment(self, project: str, environment: str, commit: str) -> Deployment | None:
        """Return the latest deployment of a commit to an environment by the access token's user."""
        ...

    async def create_deployment(self, project: str, deployment: NewDeployment) -> Deployment:
        """Create a deployment. Not idempotent: ask ``find_deployment`` first."""
        ...

    async def update_deployment(self, project: str, number: int, state: str) -> None:
        """Change the state of a deployment. Idempotent."""
        ...

    async def close(self) -> None:
        """Close connections; no other method may be called afterwards."""
        ...

"""The interface of the GitLab client: waiting jobs, runners and runner managers.

It uses two kinds of tokens. The client has an access token (of a user, group or project), for everything that says
so. A runner authentication token (``glrt-...``) is handed in by the caller, for what a runner may do by itself.
Neither appears in a message or in the repr of anything here.
Sources: https://docs.gitlab.com/api/ and https://docs.gitlab.com/security/tokens/
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from bessemer.api.reasons import ACCESS_TOKEN_REFUSED, GITLAB_NOT_FOUND, GITLAB_REFUSED, GITLAB_UNAVAILABLE
from bessemer.api.references import ScopeType as ScopeType  # noqa: PLC0414  a part of this protocol
from bessemer.errors import Invalid, Retry


class GitLabRefused(Invalid):
    """The token may not do that; the message says which right is missing."""

    def __init__(self, message: str, reason: str = GITLAB_REFUSED) -> None:
        super().__init__(reason, message)


class AccessTokenRefused(GitLabRefused):
    """GitLab does not take the access token at all: it has expired, was revoked, or was never known."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ACCESS_TOKEN_REFUSED)


class GitLabNotFound(Invalid):
    """The group, project or runner is not there, or is hidden from the token, which GitLab doesn't tell apart."""

    def __init__(self, message: str) -> None:
        super().__init__(GITLAB_NOT_FOUND, message)


class GitLabRejected(Invalid):
    """GitLab understood the request and won't do it, for a reason that stands in the message."""

    def __init__(self, message: str) -> None:
        super().__init__("GitLabRejected", message)


class RateLimited(Retry):
    """GitLab has had too many requests; ``after`` is the number of seconds that it asks for, where it says one."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__("RateLimited", message, after)


class GitLabUnavailable(Retry):
    """No connection, no answer in time, an answer that makes no sense, or an error on GitLab's side."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(GITLAB_UNAVAILABLE, message, after)


@dataclass(frozen=True)
class Scope:
    """The whole instance, a group with the groups below it, or one project."""

    type: ScopeType
    path: str = ""
    """Full path of the group or project, such as ``hpc/simulations``; empty for the instance."""

    def __str__(self) -> str:
        return f"{self.type.value.lower()} {self.path}" if self.path else "the instance"

    def has_project(self, path: str) -> bool:
        """Return whether a project of that full path belongs to it; GitLab's paths differ by more than case."""
        own, path = self.path.lower(), path.lower()
        if self.type is ScopeType.GROUP:
            return path.startswith(f"{own}/")
        return self.type is ScopeType.INSTANCE or path == own


@dataclass(frozen=True)
class ProjectRef:
    """A project, as GitLab names it. Its number stays when it is renamed or moved, and its path has any case."""

    path: str
    """Its full path; empty where it is not known."""
    id: int | None = None
    """Its number, where it is known."""

    def is_same(self, other: ProjectRef) -> bool:
        """Return whether both name one project: by their numbers where both have one, else by their paths."""
        if self.id is not None and other.id is not None:
            return self.id == other.id
        return self.path.lower() == other.path.lower()


@dataclass(frozen=True)
class PendingJob:
    """A job that waits for a runner."""

    id: int
    project: str
    """Full path of its project."""
    tags: frozenset[str]
    """All of them must be among the runner's."""
    ref: str = ""
    """Branch, tag, or the ref of a merge request."""
    by_tag: bool = False
    """Whether the ref is a tag: tags are protected by other rules than branches."""
    protected: bool | None = None
    """Whether its ref is protected; None where that is not known."""
    queued_at: datetime | None = None
    """Since when it waits, where GitLab says so."""
    name: str = ""
    project_id: int | None = None
    """Number of its project, where GitLab says it."""

    @property
    def project_ref(self) -> ProjectRef:
        """Its project."""
        return ProjectRef(self.project, self.project_id)


@dataclass(frozen=True)
class PendingJobs:
    """What was read of the jobs that wait, in no particular order."""

    jobs: tuple[PendingJob, ...]
    complete: bool = True
    """False: there are more than were read, as a reading has a bound; what it lacks may wait all the same, but for the
    jobs of the projects in ``whole``."""
    note: str = ""
    """Where it is not complete: which bound was met, and what that means."""
    whole: frozenset[int | str] = frozenset()
    """Projects all of whose jobs were read, by their numbers, and by their full paths in lower case."""

    def covers(self, job: PendingJob) -> bool:
        """Return whether a job that is not among these waits no more."""
        return self.complete or job.project_id in self.whole or job.project.lower() in self.whole


@dataclass(frozen=True)
class RunnerRequest:
    """The desired settings of a runner in GitLab."""

    scope: Scope
    description: str
    """The name that GitLab shows; the marker is appended, because lists of runners show no other field that we set."""
    marker: str
    """What the runner is found by again; unique among those who use this GitLab, such as the UID of a pool."""
    tags: frozenset[str]
    run_untagged: bool
    protected: bool
    """Whether it takes jobs of protected refs only."""
    locked: bool = True
    """Whether a project runner may not be enabled for other projects."""
    maximum_timeout: int | None = None
    """Longest time of a job in seconds, at least 600; None: the project's own limit alone."""
    paused: bool = False


@dataclass(frozen=True)
class Registration:
    """A runner that was created, or whose token was replaced."""

    id: int
    token: str = field(repr=False)
    """Its authentication token; GitLab shows it this once."""
    expires_at: datetime | None = None
    """When the token ends; None: never."""


@dataclass(frozen=True)
class Identity:
    """Whose token a runner token is."""

    id: int
    expires_at: datetime | None = None
    """When the token ends; None: never."""


class GitLab(Protocol):
    """What the operator asks of one GitLab. Each call ends within a bounded time and number of requests.

    Raises (all but ``close``), whatever is answered:
        AccessTokenRefused: 401. GitLabRefused: 403. Both where GitLab itself said so.
        GitLabNotFound: the scope or the runner is not there.
        GitLabRejected: GitLab won't do what was asked, such as a tag that is too long.
        RateLimited: 429.
        GitLabUnavailable: no answer in time, no connection, a 5xx, a redirect elsewhere, or an answer that is too large
            or not GitLab's.
    """

    async def list_pending_jobs(
        self, scope: Scope, *, with_protected: bool = False, hints: Collection[ProjectRef] = ()
    ) -> PendingJobs:
        """List jobs that wait. Access token: ``read_api``; for the instance, of an administrator.

        Of a group, each project with pipelines under way costs one more read. One with more projects than a call looks
        at is read in turns: each call goes on where the last one ended, and reads the jobs of the projects in ``hints``
        and of those that had any in any case. ``with_protected`` has unknown
        ``protected`` looked up, at the cost of up to two more reads per project and five minutes; a project whose
        protected refs the token may not see leaves it unknown, and so does the ref of a merge request.
        """
        ...

    async def create_runner(self, request: RunnerRequest) -> Registration:
        """Create a runner. Access token: ``create_runner``, of an Owner (group), Maintainer (project), administrator.

        Not idempotent: after a call that failed, or whose answer was lost, ask ``list_runners`` for its marker.
        """
        ...

    async def list_runners(self, scope: Scope, marker: str) -> list[int]:
        """List the IDs of the scope's own runners that were created with the marker. Access token: ``read_api``."""
        ...

    async def update_runner(self, runner_id: int, request: RunnerRequest) -> None:
        """Make a runner as requested, but for its scope, which never changes. Access token: ``manage_runner``.

        Idempotent.
        """
        ...

    async def rotate_runner(self, runner_id: int) -> Registration:
        """Replace a runner's token. Access token: ``manage_runner``. The old token is refused from then on.

        Not idempotent: if the answer is lost, so is the token; rotate again.
        """
        ...

    async def delete_runner(self, runner_id: int) -> None:
        """Delete a runner and its managers. Access token: ``manage_runner``. One that is gone already is fine."""
        ...

    async def verify_runner(self, runner_token: str) -> Identity | None:
        """Ask whose runner token that is; None where GitLab itself refuses it. Leaves no manager behind. No access
        token.
        """
        ...

    async def get_expiry(self) -> datetime | None:
        """Return when the access token ends: at the beginning of that day, UTC; None where it does not, or where GitLab
        does not say.
        """
        ...

    async def delete_manager(self, runner_token: str, system_id: str) -> None:
        """Delete the manager of a runner that has this system ID. One that is gone already is fine. No access token."""
        ...

    async def close(self) -> None:
        """Close connections and files; no other method may be called afterwards."""
        ...


@dataclass(frozen=True)
class Head:
    """Where a branch or tag points."""

    commit: str
    protected: bool
    message: str = ""
    """The commit's message."""
    target: str = ""
    """Of a merge request: the branch that it goes to."""
    draft: bool = False
    """Of a merge request: whether it is a draft."""
    fork: bool = False
    """Of a merge request: whether its commits come from another project."""


@dataclass(frozen=True)
class Changes:
    """Which files differ between two commits."""

    paths: frozenset[str]
    """Both names of a file that was renamed."""
    complete: bool = True
    """Whether these are all; GitLab cuts long lists."""


@dataclass(frozen=True)
class Job:
    """A job of a project."""

    state: str
    """In GitLab's words, such as running."""
    ref: str
    """Full name of its branch or tag, or of the merge request that its pipeline is for."""


@dataclass(frozen=True)
class Comment:
    """A comment on a merge request, as GitLab has it now."""

    author_id: int
    text: str
    commit: str
    """The latest commit of the merge request when the comment was written; empty where GitLab does not say it."""


class Repository(Protocol):
    """What the operator asks of a project's repository. Access token: ``read_api``, of a Reporter of the project.

    Each call ends within a bounded time and raises the errors of :class:`GitLab`; all are reads. ``project`` is a full
    path, ``ref`` the full name of a branch or tag.
    """

    async def get_head(self, project: str, ref: str) -> Head | None:
        """Return where a branch or tag points; None if there is none of that name in the project.

        Of a merge request (``refs/merge-requests/<number>/head``): its latest commit, whether its source branch is
        protected, and None if it is not open.
        """
        ...

    async def get_access_level(self, project: str, user_id: int) -> int:
        """Return the role of a user in a project, its groups included, as GitLab's number; 0 for no member.

        Source: https://docs.gitlab.com/api/access_requests/#valid-access-levels
        """
        ...

    async def get_user_id(self) -> int:
        """Return GitLab's number of the access token's user."""
        ...

    async def get_comment(self, project: str, ref: str, number: int) -> Comment | None:
        """Return a comment on a merge request by its number; None if it is not there (any more)."""
        ...

    async def list_heads(self, project: str) -> dict[str, Head]:
        """Return where branches and tags point, by their full names; of very many only a part."""
        ...

    async def get_file(self, project: str, path: str, commit: str) -> bytes | None:
        """Return the content of a file at a commit; None if the commit has no such file.

        Raises GitLabNotFound for an unknown commit, GitLabRejected for a file that is too large.
        """
        ...

    async def list_files(self, project: str, folder: str, commit: str) -> list[str]:
        """List the paths of all files below a folder ("": of all) at a commit; none if there is no such folder.

        Raises GitLabNotFound for an unknown commit, GitLabRejected for too many files.
        """
        ...

    async def compare(self, project: str, before: str, after: str, *, parted: bool = False) -> Changes:
        """Return which files differ between two commits; raises GitLabNotFound for an unknown commit.

        With ``parted``, between the later one and where they part, as for a merge request: what the
        earlier one alone has is left out.
        """
        ...

    async def get_project_id(self, project: str) -> int:
        """Return the number of a project, which stays when it is renamed."""
        ...

    async def get_project_path(self, number: int) -> str | None:
        """Return the full path of a project; None if there is none of that number, or the token may not see it."""
        ...

    async def list_projects(self, group: str) -> list[str]:
        """List the full paths of a group's projects and those of the groups below it, without archived ones; of very
        many only the first, by their numbers."""
        ...

    async def get_job(self, project: str, job_id: int) -> Job | None:
        """Return a job; None if there is no such job in the project."""
        ...

    async def get_expiry(self) -> datetime | None:
        """Return when the access token ends; None where it does not, or where GitLab does not say."""
        ...

    async def close(self) -> None:
        """Close connections; no other method may be called afterwards."""
        ...

"""What a GitLab holds, as far as it is simulated. Times are seconds since 1970; None: not yet, or never."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .git.objects import ZEROS
from .git.repository import Repository

GUEST, REPORTER, DEVELOPER, MAINTAINER, OWNER = 10, 20, 30, 40, 50
"""Access levels: https://docs.gitlab.com/api/members/#roles"""


class JobStatus(StrEnum):
    """https://docs.gitlab.com/ci/jobs/#job-statuses (those that are simulated)."""

    CREATED = "created"
    MANUAL = "manual"
    PENDING = "pending"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    SKIPPED = "skipped"


FINISHED = frozenset({JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.SKIPPED})
AT_RUNNER = frozenset({JobStatus.RUNNING, JobStatus.CANCELING})


class RunnerType(StrEnum):
    """Whose jobs a runner takes."""

    INSTANCE = "instance_type"
    GROUP = "group_type"
    PROJECT = "project_type"


@dataclass
class User:
    id: int
    username: str
    admin: bool = False
    access: dict[str, int] = field(default_factory=dict)
    """Access level by full path of a group or project; a group's holds for what is below it."""


@dataclass
class AccessToken:
    """A personal, group or project access token; the latter two belong to a bot user."""

    id: int
    value: str = field(repr=False)
    user_id: int
    scopes: frozenset[str]
    name: str = "token"
    expires_at: float | None = None
    revoked: bool = False
    last_used_at: float | None = None


@dataclass
class Group:
    id: int
    full_path: str
    runner_token_expiration_interval: float | None = None
    """Seconds that the tokens of the group's own runners are valid; None: the group sets no limit."""
    subgroup_runner_token_expiration_interval: float | None = None
    """The same for runners of the groups below it."""
    project_runner_token_expiration_interval: float | None = None
    """The same for runners of the projects below it, at any depth."""


@dataclass
class Project:
    id: int
    full_path: str
    protected_branches: list[str] = field(default_factory=lambda: ["main"])
    """Names, with ``*`` as a wildcard."""
    protected_tags: list[str] = field(default_factory=list)
    visibility: str = "private"
    shared_runners_enabled: bool = True
    group_runners_enabled: bool = True
    runner_token_expiration_interval: float | None = None
    """Seconds that the tokens of the project's runners are valid; None: the project sets no limit."""
    forked_from: int | None = None
    only_allow_merge_if_pipeline_succeeds: bool = False
    only_allow_merge_if_all_discussions_are_resolved: bool = False
    repository: Repository = field(default_factory=Repository, repr=False)
    merge_requests: dict[int, MergeRequest] = field(default_factory=dict)
    """By iid."""
    environments: dict[str, Environment] = field(default_factory=dict)
    """By name."""
    deployments: dict[int, Deployment] = field(default_factory=dict)
    """By id."""

    @property
    def default_branch(self) -> str:
        """That of the repository."""
        return self.repository.default_branch


@dataclass
class Note:
    """A comment on a merge request, or what GitLab itself says there (``system``)."""

    id: int
    body: str
    author_id: int
    created_at: float
    updated_at: float
    discussion: str
    """The discussion that it is in, by name; a comment has one for itself."""
    internal: bool = False
    system: bool = False
    resolvable: bool = False
    """Whether it is part of a discussion that can be resolved; a comment is not."""
    resolved_by: int | None = None
    resolved_at: float | None = None


@dataclass(frozen=True)
class Version:
    """What a merge request was between two pushes: https://docs.gitlab.com/api/merge_requests/ (diff versions)."""

    id: int
    head: str
    start: str
    base: str
    created_at: float


@dataclass
class MergeRequest:
    id: int
    iid: int
    """Its number within the project."""
    project_id: int
    """Into which it goes."""
    source_project_id: int
    """From which it comes: the same, or a fork."""
    source_branch: str
    target_branch: str
    title: str
    author_id: int
    created_at: float
    updated_at: float
    head: str
    """The latest commit of the source branch, as far as the merge request was open."""
    start: str = ""
    """The head of the target branch when `head` became its head."""
    base: str = ""
    """The commit at which the two part, from which its changes are counted."""
    description: str = ""
    state: str = "opened"
    """opened, closed or merged."""
    labels: list[str] = field(default_factory=list)
    notes: dict[int, Note] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    """The earliest first."""
    ended_by: int | None = None
    """Who closed or merged it."""
    ended_at: float | None = None
    merge_commit_sha: str | None = None

    @property
    def draft(self) -> bool:
        """https://docs.gitlab.com/user/project/merge_requests/drafts/"""
        return self.title.lower().startswith(("draft:", "[draft]", "(draft)"))

    @property
    def ref(self) -> str:
        """The ref of the target project's repository that points at its head."""
        return f"refs/merge-requests/{self.iid}/head"


@dataclass
class Environment:
    id: int
    name: str
    slug: str
    tier: str
    created_at: float
    external_url: str | None = None
    state: str = "available"


@dataclass
class Deployment:
    id: int
    iid: int
    project_id: int
    environment: str
    """By name."""
    sha: str
    ref: str
    tag: bool
    user_id: int
    created_at: float
    updated_at: float
    status: str = "created"
    finished_at: float | None = None
    job_id: int | None = None
    """The job that deploys; None: another program does."""


@dataclass
class Manager:
    """A runner process, told apart by its system_id."""

    id: int
    runner_id: int
    system_id: str
    created_at: float
    contacted_at: float
    info: dict[str, Any] = field(default_factory=dict)
    ip_address: str = ""


@dataclass
class Runner:
    id: int
    type: RunnerType
    token: str = field(repr=False)
    created_at: float
    group_id: int | None = None
    project_ids: list[int] = field(default_factory=list)
    """The first is its owner."""
    description: str = ""
    maintenance_note: str = ""
    paused: bool = False
    locked: bool = False
    access_level: str = "not_protected"
    run_untagged: bool = True
    tags: list[str] = field(default_factory=list)
    maximum_timeout: int | None = None
    token_expires_at: float | None = None
    contacted_at: float | None = None
    managers: dict[str, Manager] = field(default_factory=dict)
    forgotten: list[tuple[str, float]] = field(default_factory=list)
    """The managers that were deleted, by system_id, each with when."""


@dataclass
class Pipeline:
    id: int
    project_id: int
    ref: str
    tag: bool
    sha: str
    source: str
    user_id: int | None
    created_at: float
    variables: dict[str, str] = field(default_factory=dict)
    job_ids: list[int] = field(default_factory=list)
    reported: str = ""
    """The status that webhooks were told last."""
    before_sha: str = ZEROS
    """What the ref pointed at before the push."""
    merge_request_id: int | None = None
    persistent_ref: str = ""
    """The ref that keeps the commit for the jobs; empty: the repository has no such commit, and jobs don't fetch."""


@dataclass
class Job:
    id: int
    project_id: int
    pipeline_id: int
    name: str
    stage: str
    stage_index: int
    protected: bool
    tags: list[str]
    spec: Any
    """The `JobSpec` that it was made of."""
    token: str = field(repr=False)
    created_at: float
    status: JobStatus = JobStatus.CREATED
    failure_reason: str | None = None
    exit_code: int | None = None
    runner_id: int | None = None
    system_id: str | None = None
    runner_features: dict[str, Any] = field(default_factory=dict)
    claimed_by: str | None = None
    """Peer and number of the request that was given the job."""
    pending_at: float | None = None
    started_at: float | None = None
    first_trace_at: float | None = None
    finished_at: float | None = None
    updated_at: float = 0
    trace: bytearray = field(default_factory=bytearray, repr=False)
    artifacts: dict[str, tuple[str, bytes]] = field(default_factory=dict, repr=False)
    """File name and content by artifact type."""
    retried: bool = False
    user_id: int | None = None
    """Who started it by hand or tried it again; None: who started the pipeline."""
    variables: dict[str, str] = field(default_factory=dict)
    """Given by the user who started it by hand."""
    attempt: int = 0
    claims: int = 0
    """How often it was handed to a runner: more than once would be the simulator's own fault."""


@dataclass
class ExternalStatus:
    """What another program says of a commit: to GitLab, a job that it does not run itself."""

    id: int
    """Counted with the jobs."""
    project_id: int
    pipeline_id: int
    name: str
    ref: str
    user_id: int
    created_at: float
    status: JobStatus = JobStatus.CREATED
    description: str | None = None
    target_url: str | None = None
    coverage: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    retried: bool = False
    """Whether a later one has taken its place."""


@dataclass
class Hook:
    id: int
    scope: str
    """``project`` or ``group``."""
    owner_id: int
    url: str
    token: str = field(default="", repr=False)
    signing_token: str = field(default="", repr=False)
    events: frozenset[str] = frozenset()
    created_at: float = 0
    failures: int = 0
    """Failed deliveries in a row."""
    disabled_until: float | None = None
    permanently_disabled: bool = False


@dataclass
class Delivery:
    """One event that was sent to a hook, or is being sent."""

    id: int
    hook_id: int
    url: str
    event: str
    """As the header has it, such as ``Job Hook``."""
    body: bytes
    headers: dict[str, str] = field(repr=False)
    at: float
    status: int | None = None
    """None: no answer; `error` says why."""
    error: str = ""
    seconds: float = 0
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: str = ""

    @property
    def idempotency_key(self) -> str:
        return self.headers["Idempotency-Key"]

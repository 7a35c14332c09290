"""What a caller of the control API, or a seed file, may ask to be created. Unknown fields are refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RetrySpec(_Strict):
    """How often a failed job is tried again by itself: https://docs.gitlab.com/ci/yaml/#retry"""

    max: int = Field(default=0, ge=0, le=2)
    when: list[str] = ["always"]
    exit_codes: list[int] = []


class ArtifactsSpec(_Strict):
    """What the runner uploads after the script: https://docs.gitlab.com/ci/yaml/#artifacts"""

    paths: list[str] = []
    exclude: list[str] = []
    untracked: bool = False
    name: str = ""
    expire_in: str = ""
    when: Literal["on_success", "on_failure", "always"] = "on_success"
    reports: dict[str, list[str]] = {}


class IdTokenSpec(_Strict):
    """A token by which the job proves to others what it is: https://docs.gitlab.com/ci/yaml/#id_tokens"""

    aud: str | list[str]
    """For whom it is."""


class EnvironmentSpec(_Strict):
    """What the job deploys to: https://docs.gitlab.com/ci/yaml/#environment"""

    name: str = Field(min_length=1)
    action: Literal["start", "prepare", "stop", "verify", "access"] = "start"
    url: str | None = None


class JobSpec(_Strict):
    """A job, in the words of ``.gitlab-ci.yml``."""

    name: str = Field(default="job", min_length=1)
    """Jobs of one name in a pipeline are told apart by numbers, as those of ``parallel:`` are; GitLab has no others."""
    stage: str = "test"
    script: list[str] = ["true"]
    before_script: list[str] = []
    after_script: list[str] = []
    tags: list[str] = []
    variables: dict[str, str] = {}
    masked: list[str] = []
    """Names of variables whose values the runner hides in the log."""
    file_variables: list[str] = []
    image: str | dict[str, Any] | None = None
    services: list[str | dict[str, Any]] = []
    timeout: int = Field(default=3600, ge=1)
    """Seconds; a runner's maximum_timeout cuts it shorter."""
    when: Literal["on_success", "on_failure", "always", "manual"] = "on_success"
    allow_failure: bool = False
    """True for a manual job that does not say: later stages don't wait for it."""
    artifacts: ArtifactsSpec | None = None
    cache: list[dict[str, Any]] = []
    """As the runner gets them."""
    retry: RetrySpec = RetrySpec()
    id_tokens: dict[str, IdTokenSpec] = {}
    """By the names of their variables."""
    environment: EnvironmentSpec | None = None
    payload: dict[str, Any] = {}
    """Laid over what the runner gets, for what has no field here."""

    @model_validator(mode="after")
    def _decide_whether_it_may_fail(self) -> JobSpec:
        """https://docs.gitlab.com/ci/jobs/job_control/#types-of-manual-jobs"""
        if self.when == "manual" and "allow_failure" not in self.model_fields_set:
            self.allow_failure = True
        return self


class PipelineSpec(_Strict):
    """A pipeline of one project at one ref. Whether its jobs are protected follows from the project's rules."""

    project: str
    """Full path."""
    ref: str = ""
    """Empty: the default branch."""
    tag: bool = False
    sha: str = ""
    """Empty: what the ref points at; made up if that is not there."""
    source: str = "push"
    user: str = ""
    merge_request: str = ""
    """Project and iid, such as ``hpc/site!1``, of a merge request that it is for; its head is the commit then, and the
    project may be a fork."""
    variables: dict[str, str] = {}
    jobs: list[JobSpec] = Field(default=[JobSpec()], min_length=1)


class CommitSpec(_Strict):
    """A commit on a branch, which then points at it."""

    branch: str = ""
    """Empty: the default branch. One that is not there begins at `start`."""
    start: str = ""
    """Branch, tag or commit at which a new branch begins; empty: the default branch, if there is one."""
    message: str = Field(default="A commit", min_length=1)
    author: str = "Root"
    files: dict[str, str | None] = {}
    """What it changes: content by path, None for a file that goes."""
    executable: list[str] = []
    """Paths of those of its files that may be executed."""
    symlinks: dict[str, str] = {}
    """Targets of symbolic links by their paths."""
    tags: list[str] = []
    """Tags that point at it from now on."""


class MergeRequestSpec(_Strict):
    """A merge request within one project, or from a fork of it."""

    source_project: str = ""
    """Full path; empty: the project that it goes to."""

    source_branch: str = Field(min_length=1)
    target_branch: str = ""
    """Empty: the default branch."""
    title: str = Field(default="A merge request", min_length=1)
    description: str = ""
    author: str = ""
    """User name; empty: root."""
    labels: list[str] = []


class GroupSpec(_Strict):
    """A group; those above it are made with it."""

    path: str = Field(min_length=1)
    runner_token_expiration_interval: float | None = Field(default=None, gt=0)
    subgroup_runner_token_expiration_interval: float | None = Field(default=None, gt=0)
    project_runner_token_expiration_interval: float | None = Field(default=None, gt=0)
    """Seconds that runner tokens are valid, these three."""


class ProjectSpec(_Strict):
    """A project; the groups above it are made with it."""

    path: str = Field(pattern=r"^[^/]+(/[^/]+)+$")
    default_branch: str = "main"
    visibility: Literal["private", "public"] = "private"
    """The code of a public project is fetched by everyone, without a login."""
    protected_branches: list[str] | None = None
    protected_tags: list[str] = []
    shared_runners_enabled: bool = True
    group_runners_enabled: bool = True
    runner_token_expiration_interval: float | None = Field(default=None, gt=0)
    """Seconds."""
    forked_from: str = ""
    """Full path of a project before it, whose branches and tags it has."""
    only_allow_merge_if_pipeline_succeeds: bool = False
    only_allow_merge_if_all_discussions_are_resolved: bool = False
    commits: list[CommitSpec] = []
    """The oldest first."""
    merge_requests: list[MergeRequestSpec] = []


class UserSpec(_Strict):
    """A user and what it may do."""

    username: str = Field(min_length=1)
    admin: bool = False
    access: dict[str, int] = {}
    """Access level (10, 20, 30, 40, 50) by full path of a group or project."""


class TokenSpec(_Strict):
    """An access token of a user."""

    user: str
    scopes: list[str] = ["api"]
    name: str = "token"
    value: str = ""
    """Empty: one is made up."""
    expires_in: float | None = None
    """Seconds."""


class RunnerSpec(_Strict):
    """A runner, as ``POST /user/runners`` makes it: https://docs.gitlab.com/api/users/#create-a-runner-linked-to-a-user"""

    model_config = ConfigDict(extra="ignore")

    runner_type: Literal["instance_type", "group_type", "project_type"]
    group_id: int | None = None
    project_id: int | None = None
    description: str = ""
    maintenance_note: str = Field(default="", max_length=1024)
    paused: bool = False
    locked: bool = False
    access_level: Literal["not_protected", "ref_protected"] = "not_protected"
    run_untagged: bool = True
    tag_list: str | list[str] = []
    maximum_timeout: int | None = None
    token_expires_at: str | None = None
    token_rotation_deadline: str | None = None


class RunnerChanges(BaseModel):
    """What ``PUT /runners/:id`` may change: https://docs.gitlab.com/api/runners/#update-runners-details"""

    description: str = ""
    maintenance_note: str = Field(default="", max_length=1024)
    paused: bool = False
    active: bool = True
    locked: bool = False
    access_level: Literal["not_protected", "ref_protected"] = "not_protected"
    run_untagged: bool = True
    tag_list: str | list[str] = []
    maximum_timeout: int | None = None


class Seed(_Strict):
    """What a simulator holds when it starts."""

    groups: list[GroupSpec] = []
    projects: list[ProjectSpec] = []
    users: list[UserSpec] = []
    tokens: list[TokenSpec] = []
    pipelines: list[PipelineSpec] = []

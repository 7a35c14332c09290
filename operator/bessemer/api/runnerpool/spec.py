"""The spec of a RunnerPool: what the user asks for.

The sentence under a field is its comment here, its description in the CRD and its text in ``kubectl explain``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, ConfigDict, Field

from bessemer.api.base import ApiModel, SpecModel, cel, list_map
from bessemer.api.fields import GitLabUrl
from bessemer.api.references import SecretReference
from bessemer.api.runnerpool.cache import Cache, Proxy
from bessemer.api.runnerpool.cron import CronExpression
from bessemer.api.runnerpool.executors import Executor
from bessemer.api.runnerpool.podspec import RunnerPodSpec

MAX_PODS = 500
"""Pods of one pool; a slot, and so a runner manager in GitLab, stands behind each."""
Tag = Annotated[str, Field(pattern=r"^[^,\s]([^,]{0,253}[^,\s])?$", min_length=1, max_length=255)]
"""Source: https://docs.gitlab.com/ci/yaml/#tags (tags are separated by commas where they are written as a list)"""


class ScopeType(StrEnum):
    """Whose jobs a runner takes."""

    INSTANCE = "Instance"
    GROUP = "Group"
    PROJECT = "Project"


class PoolScope(ApiModel):
    """Whose jobs the pool takes: the scope that the runner has in GitLab."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "(self.type == 'Instance') != has(self.path)",
                "path is required for a Group or a Project, and for them alone",
            ),
            (
                "self.type != 'Project' || !has(self.path) || self.path.contains('/')",
                "path of a Project is its full path, with its group or user, such as hpc/simulations",
            ),
        )
    )

    type: ScopeType
    """Instance, Group or Project."""
    path: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[.]?[A-Za-z0-9_][A-Za-z0-9_.-]*)*$", max_length=1024
    )
    """Full path of the group or project, such as hpc/simulations."""


class GitLabConnection(ApiModel):
    """The GitLab that the jobs come from."""

    url: GitLabUrl
    """Its URL, as runner pods and the operator reach it."""
    scope: PoolScope
    """Whose jobs the pool takes."""
    api_token_secret: SecretReference | None = None
    """An access token of GitLab. To see which jobs wait it needs the scope read_api (read access to the project, group
    or instance); for runner.managed, create_runner and manage_runner. Without it, the pool keeps min runners."""
    webhook_secret: SecretReference | None = None
    """The secret token, or the signing token, of the webhook for job events that points at the operator:
    .../v1/gitlab/<namespace>/<name of the pool>."""
    poll_seconds: int = Field(default=60, ge=10, le=3600)
    """How often the waiting jobs are listed, whatever webhooks say; pools with the same url, token and scope share
    it."""
    ca_secret: SecretReference | None = None
    """A PEM bundle of certificate authorities that GitLab's certificate is checked with; by default those of the
    images."""


class AccessLevel(StrEnum):
    """Which refs' jobs a runner takes."""

    NOT_PROTECTED = "NotProtected"
    REF_PROTECTED = "RefProtected"


class ManagedRunner(ApiModel):
    """A runner that Bessemer creates in GitLab, whose token it rotates, and which it deletes with the pool."""

    description: str = Field(default="", max_length=128)
    """What GitLab shows as the runner's description; by default namespace and name of the pool."""
    locked: bool = True
    """Whether a project runner may not be enabled for other projects."""
    rotate_before_seconds: int = Field(default=86400, ge=60, le=31536000)
    """A token that expires is rotated that long before; one that lives shorter than twice that, at half of its life."""


class Runner(ApiModel):
    """The runner as GitLab knows it; all pods of the pool are its managers."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.tokenSecret) != has(self.managed)", "exactly one of tokenSecret and managed is required"),
            ("has(self.tags) && size(self.tags) > 0 || self.runUntagged", "tags, or runUntagged: true, are required"),
        )
    )

    token_secret: SecretReference | None = None
    """The runner's authentication token (glrt-...). tags, runUntagged and accessLevel must then say what GitLab has for
    that runner."""
    managed: ManagedRunner | None = None
    """Have Bessemer create the runner; gitlab.apiTokenSecret is required."""
    tags: list[Tag] = Field(default_factory=list, max_length=50, json_schema_extra={"x-kubernetes-list-type": "set"})
    """The runner takes jobs all of whose tags are among these."""
    run_untagged: bool = False
    """Whether it also takes jobs without tags."""
    access_level: AccessLevel = AccessLevel.NOT_PROTECTED
    """RefProtected: only jobs of protected branches and tags."""
    maximum_timeout_seconds: int = Field(default=3600, ge=600, le=2592000)
    """Longest time of a job. The least is GitLab's."""
    grace_period_seconds: int | None = Field(default=None, ge=0, le=2592000)
    """How long a pod that is to go, such as by a drained node, may take to end its job; then the job fails as
    runner_interrupted. By default maximumTimeoutSeconds: no job is interrupted. On nodes that may be taken away, what
    they give notice of, less a minute: GitLab then hears of it, and would else wait an hour."""


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("no time zone of the IANA database, such as Europe/Berlin") from error
    return name


class Schedule(ApiModel):
    """A time in which other bounds hold."""

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    """Name of the schedule, for messages."""
    start: CronExpression
    """When it begins, as a cron expression of five fields, such as 0 7 * * 1-5. A time of day that the clock skips
    comes when it is put forward, one that it shows twice comes the first time."""
    duration_seconds: int = Field(ge=60, le=604800)
    """How long it lasts."""
    time_zone: Annotated[str, AfterValidator(_check_zone)] = Field(
        default="Etc/UTC", pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$", max_length=64
    )
    """Time zone of start, by its IANA name."""
    min: int = Field(ge=0, le=MAX_PODS)
    """The pool's min while it lasts, be it more or less than spec.min; where schedules overlap, the greatest of theirs
    counts."""


class Mode(StrEnum):
    """Who takes the jobs."""

    PODS = "Pods"
    MANAGER = "Manager"


class RunnerPoolSpec(SpecModel):
    """What the pool is to be."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("self.min <= self.max", "min must not be greater than max"),
            (
                "!has(self.schedules) || self.schedules.all(schedule, schedule.min <= self.max)",
                "min of a schedule must not be greater than max",
            ),
            (
                "!has(self.runner.managed) || has(self.gitlab.apiTokenSecret)",
                "gitlab.apiTokenSecret is required for runner.managed",
            ),
            (
                "has(self.gitlab.apiTokenSecret) || self.min > 0 || self.mode == 'Manager' || "
                "(has(self.schedules) && self.schedules.exists(schedule, schedule.min > 0))",
                "without gitlab.apiTokenSecret nobody sees which jobs wait: min, or the min of a schedule, must be "
                "greater than 0, so that runners are there to ask for themselves",
            ),
            (
                "self.mode != 'Manager' || self.executor.type == 'Kubernetes'",
                "mode Manager needs executor.type Kubernetes",
            ),
            ("self.mode != 'Manager' || self.min <= 1", "mode Manager has one manager: min is 0 or 1"),
            (
                "self.mode != 'Manager' || !has(self.schedules) || self.schedules.all(schedule, schedule.min <= 1)",
                "mode Manager has one manager: min of a schedule is 0 or 1",
            ),
        )
    )

    gitlab: GitLabConnection
    """The GitLab that the jobs come from."""
    runner: Runner
    """The runner as GitLab knows it."""
    mode: Mode = Mode.PODS
    """Pods: a runner pod for each job. Manager: one runner for all jobs, each in a pod by the executor Kubernetes; it
    is there while there are jobs, and max is how many it runs at a time."""
    min: int = Field(default=0, ge=0, le=MAX_PODS)
    """Runner pods that are there even without jobs; those that wait start their job at once."""
    max: int = Field(default=10, ge=1, le=MAX_PODS)
    """Most runner pods at a time; those count that were deleted and still finish a job."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Where a ResourceQuota has no room for all pools of the namespace, those of higher priority get it first."""
    max_starting: int = Field(default=50, ge=1, le=MAX_PODS)
    """Most pods that are starting at a time, so that a burst of jobs does not flood the cluster."""
    idle_seconds: int = Field(default=60, ge=0, le=86400)
    """How long a pod that waits for a job is kept above min."""
    schedules: list[Schedule] = Field(default_factory=list, max_length=16, json_schema_extra=list_map("name"))
    """Times with another min."""
    executor: Executor = Executor()
    """How the runner runs a job."""
    cache: Cache | None = None
    """Where jobs' caches lie."""
    proxy: Proxy | None = None
    """The proxies that runners and jobs use."""
    pod: RunnerPodSpec = RunnerPodSpec()
    """The runner pods."""

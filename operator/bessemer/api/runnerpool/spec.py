"""The spec of a RunnerPool, as users write it.

The docstring of a field is its description in the CRD, and so its text in ``kubectl explain``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, ConfigDict, Field

from bessemer.api.base import ApiModel, SpecModel, cel, list_map
from bessemer.api.gitlab import PATH_PATTERN, GitLabEndpoint
from bessemer.api.references import ScopeType, SecretReference
from bessemer.api.runnerpool.cache import Cache, Proxy
from bessemer.api.runnerpool.cron import CronExpression
from bessemer.api.runnerpool.executors import Executor
from bessemer.api.runnerpool.podspec import RunnerPodSpec

MAX_PODS = 500
"""Maximum number of pods of one pool; each has a slot, and so a runner manager in GitLab."""
Tag = Annotated[str, Field(pattern=r"^[^,\s]([^,]{0,253}[^,\s])?$", min_length=1, max_length=255)]
"""Source: https://docs.gitlab.com/ci/yaml/#tags (lists of tags are separated by commas)"""


class PoolScope(ApiModel):
    """The scope of the runner in GitLab: from where it takes jobs."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "(self.type == 'Instance') != has(self.path)",
                "path is required for a Group or Project, and must be absent for an Instance",
            ),
            (
                "self.type != 'Project' || !has(self.path) || self.path.contains('/')",
                "path of a Project must be its full path, including its group or user, such as hpc/simulations",
            ),
        )
    )

    type: ScopeType
    """Instance, Group or Project."""
    path: str | None = Field(default=None, pattern=PATH_PATTERN, max_length=1024)
    """Full path of the group or project, such as hpc/simulations."""


class GitLabConnection(GitLabEndpoint):
    """The GitLab that the jobs come from."""

    scope: PoolScope
    """From where the pool takes jobs."""
    api_token_secret: SecretReference | None = None
    """The Secret with an access token of GitLab. The token needs the scope read_api to list waiting jobs (and read
    access to the project, group or instance), and create_runner and manage_runner for runner.managed. Without a
    token, the pool keeps min runners."""
    webhook_secret: SecretReference | None = None
    """The Secret with the secret token or the signing token of GitLab's webhook for job events. The URL of the
    webhook is .../v1/gitlab/<namespace>/<name of the pool> of the operator."""
    poll_seconds: int = Field(default=60, ge=10, le=3600)
    """Interval in seconds at which waiting jobs are listed, regardless of webhooks. Pools with the same url, token and
    scope share one poll."""


class AccessLevel(StrEnum):
    """From which refs a runner takes jobs."""

    NOT_PROTECTED = "NotProtected"
    REF_PROTECTED = "RefProtected"


class ManagedRunner(ApiModel):
    """A runner that Bessemer manages in GitLab: it creates the runner, rotates its token, and deletes it with the
    pool."""

    description: str = Field(default="", max_length=128)
    """Description of the runner in GitLab. Defaults to namespace and name of the pool."""
    locked: bool = True
    """Whether a project runner is locked, so that it can't be enabled for other projects."""
    rotate_before_seconds: int = Field(default=86400, ge=60, le=31536000)
    """How many seconds before its expiry the runner token is rotated. A token with a lifetime of less than twice this
    value is rotated at half of its lifetime."""


class Runner(ApiModel):
    """The runner in GitLab; each pod of the pool is one of its runner managers."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.tokenSecret) != has(self.managed)", "exactly one of tokenSecret and managed is required"),
            ("has(self.tags) && size(self.tags) > 0 || self.runUntagged", "tags, or runUntagged: true, are required"),
        )
    )

    token_secret: SecretReference | None = None
    """The Secret with the authentication token of an existing runner (glrt-...). tags, runUntagged and accessLevel must
    then match the settings of that runner in GitLab."""
    managed: ManagedRunner | None = None
    """Lets Bessemer create and manage the runner; requires gitlab.apiTokenSecret."""
    tags: list[Tag] = Field(default_factory=list, max_length=50, json_schema_extra={"x-kubernetes-list-type": "set"})
    """Tags of the runner. It takes a job if the runner has all of the job's tags."""
    run_untagged: bool = False
    """Whether the runner also takes jobs without tags."""
    access_level: AccessLevel = AccessLevel.NOT_PROTECTED
    """RefProtected: the runner takes only jobs on protected branches and tags."""
    maximum_timeout_seconds: int = Field(default=3600, ge=600, le=2592000)
    """Maximum duration of a job in seconds. GitLab does not accept less than 600."""
    grace_period_seconds: int | None = Field(default=None, ge=0, le=2592000)
    """How many seconds a pod that is being deleted, for example because its node is drained, may take to finish its
    job; after that, the job fails with runner_interrupted. Defaults to maximumTimeoutSeconds, so that no job is
    interrupted. On preemptible nodes, set it to their notice period minus one minute, so that the runner can report
    the failure to GitLab, which would otherwise wait an hour."""


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin") from error
    return name


class Schedule(ApiModel):
    """A recurring period with another minimum of runner pods."""

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    """Name of the schedule, shown in messages."""
    start: CronExpression
    """Start of the period, as a cron expression with five fields, such as 0 7 * * 1-5. A time that is skipped when
    daylight saving time begins counts at the moment of the change; a time that occurs twice counts the first time."""
    duration_seconds: int = Field(ge=60, le=604800)
    """Length of the period in seconds."""
    time_zone: Annotated[str, AfterValidator(_check_zone)] = Field(
        default="Etc/UTC", pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$", max_length=64
    )
    """Time zone of start, as an IANA name."""
    min: int = Field(ge=0, le=MAX_PODS)
    """Replaces spec.min during the period, whether it is greater or less. Where schedules overlap, the greatest min
    applies."""


class Mode(StrEnum):
    """How jobs are distributed to runners."""

    PODS = "Pods"
    MANAGER = "Manager"


class RunnerPoolSpec(SpecModel):
    """The desired state of the pool."""

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
                "without gitlab.apiTokenSecret the operator can't see waiting jobs: min, or the min of a schedule, "
                "must be greater than 0, so that there are runners that poll for jobs",
            ),
            (
                "self.mode != 'Manager' || self.executor.type == 'Kubernetes'",
                "mode Manager needs executor.type Kubernetes",
            ),
            ("self.mode != 'Manager' || self.min <= 1", "mode Manager has one runner pod: min must be 0 or 1"),
            (
                "self.mode != 'Manager' || !has(self.schedules) || self.schedules.all(schedule, schedule.min <= 1)",
                "mode Manager has one runner pod: min of a schedule must be 0 or 1",
            ),
        )
    )

    gitlab: GitLabConnection
    """The GitLab that the jobs come from."""
    runner: Runner
    """The runner in GitLab."""
    mode: Mode = Mode.PODS
    """Pods: one runner pod for each job. Manager: one runner pod for all jobs, which creates a job pod for each of them
    (executor Kubernetes); it exists while there are jobs, and max is the number of concurrent jobs."""
    min: int = Field(default=0, ge=0, le=MAX_PODS)
    """Minimum number of runner pods, kept even without jobs; waiting pods start a job without delay."""
    max: int = Field(default=10, ge=1, le=MAX_PODS)
    """Maximum number of runner pods, including pods that are being deleted and still finish a job."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """If a ResourceQuota is not sufficient for all pools of the namespace, pools with a higher priority come first."""
    max_starting: int = Field(default=50, ge=1, le=MAX_PODS)
    """Maximum number of pods that start at the same time, so that a burst of jobs does not overload the cluster."""
    idle_seconds: int = Field(default=60, ge=0, le=86400)
    """How many seconds a waiting pod is kept if there are more than min."""
    schedules: list[Schedule] = Field(default_factory=list, max_length=16, json_schema_extra=list_map("name"))
    """Recurring periods with another min."""
    executor: Executor = Executor()
    """How the runner runs jobs."""
    cache: Cache | None = None
    """Where caches of jobs are stored."""
    proxy: Proxy | None = None
    """HTTP proxies for runners and jobs."""
    pod: RunnerPodSpec = RunnerPodSpec()
    """Settings of the runner pods."""

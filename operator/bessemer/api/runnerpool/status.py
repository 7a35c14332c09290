"""The status of a RunnerPool; each reconcile pass computes all of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from bessemer.api.base import ApiModel, Condition, Conditioned, PrintableLine, PrintableText, list_map

MOST_CAUSES = 8
"""Maximum number of earlier causes of failures that are kept."""


class RunnerStatus(ApiModel):
    """The runner in GitLab."""

    id: int | None = Field(default=None, ge=0)
    """ID of the runner in GitLab."""
    token_expires_at: datetime | None = None
    """When the runner token expires; absent if it does not expire, or if that is not known."""


class BackOff(ApiModel):
    """The delay before the next pod is created, after pods failed without having taken a job."""

    cause: PrintableLine = Field(default="", max_length=128)
    """Cause of the last failure, as one CamelCase word."""
    message: PrintableText = Field(default="", max_length=1024)
    """Cause of the last failure, in a sentence."""
    failures: int = Field(default=0, ge=0)
    """Number of failures with that cause since a pod last took a job."""
    earlier: Annotated[dict[str, int], Field(max_length=MOST_CAUSES)] = Field(default_factory=dict)
    """Number of failures with other causes since then."""
    until: datetime | None = None
    """When the next pod may be created."""


class RunnerPoolStatus(Conditioned):
    """The observed state of the pool."""

    observed_generation: int = Field(default=0, ge=0)
    """The generation of the spec that this status was computed from."""
    min: int = Field(default=0, ge=0)
    """Minimum number of runner pods, including the effect of schedules."""
    replicas: int = Field(default=0, ge=0)
    """Number of runner pods."""
    pending: int = Field(default=0, ge=0)
    """Number of jobs that are waiting in GitLab and that this pool can run."""
    starting: int = Field(default=0, ge=0)
    """Number of pods that are starting."""
    idle: int = Field(default=0, ge=0)
    """Number of pods that are waiting for a job."""
    running: int = Field(default=0, ge=0)
    """Number of pods that have a job, or were assigned one; in mode Manager, number of jobs."""
    draining: int = Field(default=0, ge=0)
    """Number of pods that finish their job and are then removed."""
    selector: str = Field(default="", max_length=512)
    """Label selector of the pods, for the scale subresource."""
    runner: RunnerStatus = RunnerStatus()
    """The runner in GitLab."""
    back_off: BackOff | None = None
    """The delay before the next pod is created; absent if there is none."""
    conditions: list[Condition] = Field(default_factory=list, max_length=16, json_schema_extra=list_map("type"))
    """Conditions of the pool."""

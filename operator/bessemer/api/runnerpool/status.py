"""The status of a RunnerPool, computed whole in each pass."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from bessemer.api.base import ApiModel, Condition, PrintableLine, PrintableText, list_map

MOST_CAUSES = 8
"""Causes of failures that are remembered beside the last one."""


class RunnerStatus(ApiModel):
    """The runner as GitLab knows it."""

    id: int | None = Field(default=None, ge=0)
    """Its number in GitLab."""
    token_expires_at: datetime | None = None
    """When its token expires; absent where it does not, or where that is not known."""


class BackOff(ApiModel):
    """Why no pod is created for a while: pods failed before they took a job."""

    cause: PrintableLine = Field(default="", max_length=128)
    """What the last of them failed with, as one CamelCase word."""
    message: PrintableText = Field(default="", max_length=1024)
    """The same in a sentence."""
    failures: int = Field(default=0, ge=0)
    """How often for that cause, since a pod last took a job."""
    earlier: Annotated[dict[str, int], Field(max_length=MOST_CAUSES)] = Field(default_factory=dict)
    """How often for other causes since then."""
    until: datetime | None = None
    """When the next may be created."""


class RunnerPoolStatus(ApiModel):
    """What has become of the pool."""

    observed_generation: int = Field(default=0, ge=0)
    """The generation of the spec that this status was computed from."""
    min: int = Field(default=0, ge=0)
    """Runner pods that are kept even without jobs, with the schedules of the moment."""
    replicas: int = Field(default=0, ge=0)
    """Runner pods that there are."""
    pending: int = Field(default=0, ge=0)
    """Jobs that wait in GitLab for a runner such as this pool's."""
    starting: int = Field(default=0, ge=0)
    """Pods that do not run yet."""
    idle: int = Field(default=0, ge=0)
    """Pods that wait for a job."""
    running: int = Field(default=0, ge=0)
    """Pods that were sent for a job, or have one; in mode Manager, jobs."""
    draining: int = Field(default=0, ge=0)
    """Pods that are to go, and finish their job first."""
    selector: str = Field(default="", max_length=512)
    """Label selector of the pods, for the scale subresource."""
    runner: RunnerStatus = RunnerStatus()
    """The runner as GitLab knows it."""
    back_off: BackOff | None = None
    """Why no pod is created for a while."""
    conditions: list[Condition] = Field(default_factory=list, max_length=16, json_schema_extra=list_map("type"))
    """How the pool is, aspect by aspect."""

    def condition(self, type_: str) -> Condition | None:
        """Give one condition, None where it was never set."""
        return next((condition for condition in self.conditions if condition.type == type_), None)

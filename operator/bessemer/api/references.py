"""References from the specs of RunnerPools and BuildTriggers to other objects."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from bessemer.api.base import ApiModel
from bessemer.api.fields import SecretName


class SecretReference(ApiModel):
    """One key of a Secret in the namespace of the object that names it."""

    name: SecretName
    """Name of the Secret."""
    key: str = Field(default="token", pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)
    """Key in the Secret."""


class ScopeType(StrEnum):
    """Scope of a runner in GitLab."""

    INSTANCE = "Instance"
    GROUP = "Group"
    PROJECT = "Project"

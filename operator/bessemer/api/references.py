"""References from the spec of a RunnerPool to other objects."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from bessemer.api.base import ApiModel
from bessemer.api.fields import SecretName


class SecretReference(ApiModel):
    """One key of a Secret in the namespace of the RunnerPool."""

    name: SecretName
    """Name of the Secret."""
    key: str = Field(default="token", pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)
    """Key in the Secret."""


class ScopeType(StrEnum):
    """Scope of a runner in GitLab."""

    INSTANCE = "Instance"
    GROUP = "Group"
    PROJECT = "Project"

"""The values of the Secrets that a trigger names. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.kinds.buildtrigger.facts import Problem


@dataclass(frozen=True)
class Access:
    """The current values of the Secrets; a missing or invalid one has no value."""

    api_token: str | None = field(repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)
    problem: Problem | None = None
    """What is wrong with the first Secret without a value."""


@dataclass(frozen=True)
class Reading:
    """The values as they were read, and when."""

    access: Access
    at: datetime
    changes: int
    """How many changes of the Secrets had been heard of before."""


def list_secrets(spec: BuildTriggerSpec) -> set[str]:
    """Return the names of the user's Secrets that a trigger reads itself."""
    gitlab = spec.gitlab
    found = (gitlab.api_token_secret, gitlab.webhook_secret, gitlab.ca_secret)
    return {reference.name for reference in found if reference is not None}

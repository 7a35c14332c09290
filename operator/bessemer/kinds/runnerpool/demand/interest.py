"""What a pool wants to know of GitLab's waiting jobs, and how long GitLab asks for between questions. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.errors import BessemerError, Retry
from bessemer.gitlab.jobs import RunnerTraits
from bessemer.gitlab.protocol import Scope

LONGEST_WAIT_SECONDS = 3600.0
"""Maximum pause in seconds, even if GitLab requests a longer one: the longest of its own limits."""


@dataclass(frozen=True)
class SourceKey:
    """What is polled, and with which token; equal for pools that share it."""

    url: str
    scope: Scope
    token_digest: str
    ca_digest: str


@dataclass(frozen=True)
class Interest:
    """What a pool wants of a source."""

    traits: RunnerTraits
    poll_seconds: int
    webhook: bool = False
    """Whether a webhook announces jobs."""


@dataclass(frozen=True)
class Polls:
    """The polls that a pool takes part in."""

    source: SourceKey
    interest: Interest


def compute_asked(error: BessemerError) -> float:
    """Return the seconds for which GitLab asks for no requests, an hour at most; 0 where it does not ask."""
    return min(error.after or 0.0, LONGEST_WAIT_SECONDS) if isinstance(error, Retry) else 0.0

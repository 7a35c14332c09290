"""What a pool needs to know about GitLab's waiting jobs, and the pauses that GitLab requests. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.errors import BessemerError, Retry
from bessemer.gitlab.jobs import RunnerTraits
from bessemer.gitlab.limits import LONGEST_WAIT_SECONDS
from bessemer.gitlab.protocol import Scope


@dataclass(frozen=True)
class SourceKey:
    """What is polled, and with which token; pools with equal keys share a source."""

    url: str
    scope: Scope
    token_digest: str
    ca_digest: str


@dataclass(frozen=True)
class Interest:
    """What a pool needs from a source."""

    traits: RunnerTraits
    poll_seconds: int
    webhook: bool = False
    """Whether a webhook announces jobs."""


@dataclass(frozen=True)
class Polls:
    """The polls in which a pool takes part."""

    source: SourceKey
    interest: Interest


def compute_asked(error: BessemerError) -> float:
    """Return the pause in seconds that GitLab requests, at most an hour; 0 if it requests none."""
    return min(error.after or 0.0, LONGEST_WAIT_SECONDS) if isinstance(error, Retry) else 0.0

"""What a job asks for a build, whatever the way: through the operator's endpoint, or with a kubeconfig."""

from __future__ import annotations

from typing import Protocol

from bessemer.api.jobprogress import JobProgress, LogQuery
from bessemer.errors import Invalid


class Refused(Invalid):
    """What the job asks for is not done."""


class Builder(Protocol):
    """Builds for one job. All calls may raise Refused, and Retry where there is no answer."""

    async def build(self) -> JobProgress:
        """Ask for a build; the same job gets the same one again."""

    async def show(self, record: str, log: LogQuery | None = None) -> JobProgress:
        """Ask how far a build is, and for lines of a phase's log."""

    async def abort(self, record: str) -> JobProgress:
        """Abort a build; one that is aborted already is fine."""

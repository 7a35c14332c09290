"""Which jobs webhooks have spoken of, and which only a poll has found: a webhook that is silent is told. Pure.

GitLab sends nothing again, and lets a webhook rest that has failed four times in a row, for a minute at first and for
a day in the end: jobs then wait for the next poll, and nobody would know why.
Source: https://docs.gitlab.com/user/project/integrations/webhooks/#auto-disabled-webhooks
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from bessemer.gitlab.protocol import PendingJob
from bessemer.runnerpool.board import remember

GRACE = timedelta(seconds=10)
"""A webhook may come later than the poll that another one has brought about: GitLab sends them one by one."""


class Announcements:
    """What webhooks have said of jobs, in one source."""

    def __init__(self) -> None:
        self._heard: dict[int, datetime] = {}
        self._missed: dict[str, tuple[PendingJob, datetime]] = {}

    def put_webhook(self, number: int, project: str, when: datetime) -> None:
        """Take down that a webhook of a project spoke of a job; ``project`` is empty where it did not say."""
        remember(self._heard, number, when)
        if project:
            self._missed.pop(project, None)
        else:
            self._missed.clear()

    def put_poll(self, fresh: Iterable[PendingJob], when: datetime) -> None:
        """Take down that a poll has found jobs that were not there before."""
        for job in fresh:
            if job.id not in self._heard:
                self._missed.setdefault(job.project, (job, when))

    def find_missed(self, now: datetime) -> PendingJob | None:
        """Give a job that a webhook should have announced by now; None while all is well."""
        return next((job for job, found in self._missed.values() if found + GRACE <= now), None)

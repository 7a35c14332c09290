"""Compares the jobs announced by webhooks with those found by polls, to detect silent webhooks. Pure.

GitLab never resends a webhook, and disables one that has failed four times in a row, for a minute at first and for up
to a day: jobs then wait for the next poll, without a visible cause.
Source: https://docs.gitlab.com/user/project/integrations/webhooks/#auto-disabled-webhooks
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bessemer.gitlab.protocol import PendingJob, ProjectRef
from bessemer.kinds.runnerpool.demand.board import remember

GRACE = timedelta(seconds=10)
"""A webhook may arrive after a poll that another webhook caused: GitLab sends them one by one."""
MEMORY = timedelta(days=1)
"""How long a project's missed jobs are reported after the last one: the project may be gone or inactive since."""
MOST_PROJECTS = 100
"""Maximum number of projects with missed jobs; one is enough to report silent webhooks."""


@dataclass(frozen=True)
class _Missed:
    """Jobs of a project that no webhook announced."""

    job: PendingJob
    """The first missed job."""
    found: datetime
    last: datetime
    """When the last missed job was found."""


class Announcements:
    """Jobs announced by webhooks in one source."""

    def __init__(self) -> None:
        self._heard: dict[int, datetime] = {}
        self._missed: list[_Missed] = []

    def put_webhook(self, number: int, project: ProjectRef, when: datetime) -> None:
        """Record that a webhook of a project announced a job; the path is empty if the webhook did not contain it."""
        remember(self._heard, number, when)
        named = bool(project.path) or project.id is not None
        self._missed = [one for one in self._missed if named and not project.is_same(one.job.project_ref)]

    def put_poll(self, fresh: Iterable[PendingJob], when: datetime) -> None:
        """Record that a poll has found new jobs."""
        for job in fresh:
            if job.id in self._heard:
                continue
            before = next((one for one in self._missed if one.job.project_ref.is_same(job.project_ref)), None)
            if before is not None:
                self._missed.remove(before)
                self._missed.append(replace(before, last=when))
            elif len(self._missed) < MOST_PROJECTS:
                self._missed.append(_Missed(job, when, when))

    def find_missed(self, now: datetime) -> PendingJob | None:
        """Return a job that a webhook should have announced by now; None if there is none."""
        self._missed = [one for one in self._missed if now - one.last < MEMORY]
        return next((one.job for one in self._missed if one.found + GRACE <= now), None)

"""The known waiting jobs in one scope of one GitLab, from polls, webhooks and ended pods. No I/O.

A poll reports the state of all jobs at the time when it began; a webhook reports one job. Information that arrived
after a poll began overrides the result of the poll.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bessemer.gitlab.protocol import PendingJob, PendingJobs
from bessemer.kinds.runnerpool.facts import Tried, WaitingJob
from bessemer.pauses import compute_growing_pause

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=5)
"""Maximum pause before another pod is sent for a job that GitLab lists as waiting but gives to none of our runners."""
MEMORY = timedelta(minutes=10)
"""How long a job that no longer waits is remembered; a poll takes a fraction of that."""
MOST_JOBS = 5000
"""Maximum number of waiting jobs. One list has at most 2000, but jobs missing from it may still be waiting."""
MOST_REMEMBERED = 10_000
"""Maximum number of remembered jobs."""


class Board:
    """Waiting jobs by number."""

    def __init__(self) -> None:
        self._jobs: dict[int, WaitingJob] = {}
        self._closed: dict[int, datetime] = {}
        self._tried: dict[int, Tried] = {}
        self._swapped: dict[int, datetime] = {}
        self._listed: list[WaitingJob] | None = None
        self._complete = True

    def put_poll(self, pending: PendingJobs, began: datetime) -> None:
        """Store the result of a poll that began at ``began``; if it was incomplete, the other jobs keep waiting."""
        self._listed = None
        self._complete = pending.complete
        fresh = {job.id: WaitingJob(job, began) for job in pending.jobs if self._closed.get(job.id, began) <= began}
        kept: dict[int, WaitingJob] = {}
        for number, waiting in self._jobs.items():
            if waiting.seen > began or not (number in fresh or pending.covers(waiting.job)):
                kept[number] = waiting
            elif number not in fresh and not pending.complete:
                remember(self._closed, number, began)
        self._jobs = fresh | kept
        if len(self._jobs) > MOST_JOBS:  # it is incomplete: jobs not seen for long are dropped first
            seen = sorted(self._jobs.items(), key=lambda item: (item[1].seen, item[0]))
            self._jobs = dict(seen[-MOST_JOBS:])
        self._tried = {number: tried for number, tried in self._tried.items() if number in self._jobs}

    def put_job(self, job: PendingJob, heard: datetime) -> bool:
        """Record that a job waits; return whether that can be true.

        A job that is known to have stopped waiting never waits again.
        """
        if job.id in self._closed:
            return False
        self._listed = None
        listed = self._jobs.get(job.id)
        self._jobs[job.id] = WaitingJob(job if listed is None else listed.job, heard)
        return True

    def close_job(self, number: int, heard: datetime) -> PendingJob | None:
        """Record that a job no longer waits; return it if that is new."""
        remember(self._closed, number, heard)
        self._listed = None
        closed = self._jobs.pop(number, None)
        return None if closed is None else closed.job

    def put_tried(self, number: int, claimed: tuple[int, ...], when: datetime, said: str = "") -> bool:
        """Record that a pod sent for a job has ended, and which jobs it reports; return whether GitLab must be asked.

        It must if one of these jobs still seems to wait. The pod's report settles only the job that it was sent for.
        For any other job only GitLab is believed, because a job may have written the pod's report.
        """
        self._listed = None
        if number in claimed:
            self.close_job(number, when)
        others = [taken for taken in claimed if taken != number]
        for taken in others:
            remember(self._swapped, taken, when)
        doubtful = any(taken in self._jobs for taken in others)
        if number not in self._jobs:
            return doubtful
        if claimed:
            return True  # it got another job: its own job is not in doubt
        before = self._tried.get(number, Tried(0, when, when))
        self._tried[number] = Tried(before.times + 1, before.first, when, said)
        return True

    def list_jobs(self) -> Sequence[WaitingJob]:
        """Return the waiting jobs, oldest first; called in each pass of each pool that uses this source."""
        if self._listed is None:
            jobs = sorted(self._jobs.values(), key=lambda waiting: waiting.job.id)
            self._listed = [
                replace(waiting, not_before=self._compute_pause(waiting), tried=self._tried.get(waiting.job.id))
                for waiting in jobs
            ]
        return self._listed

    def list_swapped(self) -> frozenset[int]:
        """Return the jobs taken by a pod that was sent for another job: their own pods will take other jobs instead."""
        return frozenset(self._swapped)

    def list_closed(self) -> frozenset[int] | None:
        """Return the jobs that are known to wait no longer; None: all jobs missing from :meth:`list_jobs`."""
        return None if self._complete else frozenset(self._closed)

    def _compute_pause(self, waiting: WaitingJob) -> datetime | None:
        """Return until when no pod is sent for a job again: at least until it is seen again, with growing pauses."""
        tried = self._tried.get(waiting.job.id)
        if tried is None:
            return None
        if waiting.seen <= tried.last:
            return tried.last + LONGEST_PAUSE
        return tried.last + compute_growing_pause(FIRST_PAUSE, tried.times, LONGEST_PAUSE)


def remember(memory: dict[int, datetime], number: int, when: datetime) -> None:
    """Append a job to the memory; drop expired jobs from its beginning."""
    memory.pop(number, None)
    memory[number] = when
    while memory[oldest := next(iter(memory))] <= when - MEMORY or len(memory) > MOST_REMEMBERED:
        del memory[oldest]

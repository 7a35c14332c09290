"""What is known of the jobs that wait in one scope of one GitLab. No I/O: told by polls, webhooks and ended pods.

A poll says of all jobs how they stood when it began; a webhook says it of one. What was heard after a poll began wins
over what the poll brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bessemer.gitlab.protocol import PendingJob, PendingJobs
from bessemer.kinds.runnerpool.facts import Tried, WaitingJob

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=5)
"""A job that GitLab lists as waiting but gives to none of our runners is tried again that often at the least."""
MEMORY = timedelta(minutes=10)
"""How long a job that waits no more is remembered; a poll takes a fraction of that."""
MOST_JOBS = 5000
"""That wait; one list has no more than 2000, but what it lacks may wait on."""
MOST_REMEMBERED = 10_000
"""Jobs that are remembered, however many are spoken of in that time."""


class Board:
    """Waiting jobs by their numbers."""

    def __init__(self) -> None:
        self._jobs: dict[int, WaitingJob] = {}
        self._closed: dict[int, datetime] = {}
        self._tried: dict[int, Tried] = {}
        self._swapped: dict[int, datetime] = {}
        self._listed: list[WaitingJob] | None = None
        self._complete = True

    def put_poll(self, pending: PendingJobs, began: datetime) -> None:
        """Take over what a poll that began then has brought; the other jobs wait on, as far as it was not all."""
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
        if len(self._jobs) > MOST_JOBS:  # such a list is not complete: those that were not seen for long go first
            seen = sorted(self._jobs.items(), key=lambda item: (item[1].seen, item[0]))
            self._jobs = dict(seen[-MOST_JOBS:])
        self._tried = {number: tried for number, tried in self._tried.items() if number in self._jobs}

    def put_job(self, job: PendingJob, heard: datetime) -> bool:
        """Record that a job waits; return whether that may be true: a job that is known to wait no more never does
        again.
        """
        if job.id in self._closed:
            return False
        self._listed = None
        listed = self._jobs.get(job.id)
        self._jobs[job.id] = WaitingJob(job if listed is None else listed.job, heard)
        return True

    def close_job(self, number: int, heard: datetime) -> PendingJob | None:
        """Record that a job waits no more; return it if that is new."""
        remember(self._closed, number, heard)
        self._listed = None
        closed = self._jobs.pop(number, None)
        return None if closed is None else closed.job

    def put_tried(self, number: int, claimed: tuple[int, ...], when: datetime, said: str = "") -> bool:
        """Record that a pod sent for a job has ended, and which jobs it says it had; return whether one of them
        still seems to wait, so that GitLab has to be asked.

        Its own job it may close. Of any other only GitLab's word is taken: a job may have written what its pod says.
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
            return True  # it was given another one: nothing is wrong with its own
        before = self._tried.get(number, Tried(0, when, when))
        self._tried[number] = Tried(before.times + 1, before.first, when, said)
        return True

    def list_jobs(self) -> Sequence[WaitingJob]:
        """List the jobs that wait, the oldest first. Each pass of each pool that looks at them asks for it."""
        if self._listed is None:
            jobs = sorted(self._jobs.values(), key=lambda waiting: waiting.job.id)
            self._listed = [
                replace(waiting, not_before=self._compute_pause(waiting), tried=self._tried.get(waiting.job.id))
                for waiting in jobs
            ]
        return self._listed

    def list_swapped(self) -> frozenset[int]:
        """List the jobs that were taken by a pod sent for another: their own pods will take others in turn."""
        return frozenset(self._swapped)

    def list_closed(self) -> frozenset[int] | None:
        """List the jobs that are known to wait no more; None: all that :meth:`list_jobs` does not give."""
        return None if self._complete else frozenset(self._closed)

    def _compute_pause(self, waiting: WaitingJob) -> datetime | None:
        """Return until when no pod is sent for a job again: until it is seen again at least, then ever longer."""
        tried = self._tried.get(waiting.job.id)
        if tried is None:
            return None
        if waiting.seen <= tried.last:
            return tried.last + LONGEST_PAUSE
        doubled: timedelta = FIRST_PAUSE * 2 ** min(tried.times - 1, 10)
        return tried.last + min(doubled, LONGEST_PAUSE)


def remember(memory: dict[int, datetime], number: int, when: datetime) -> None:
    """Take a job down at the end, and forget those at the beginning that are of no use any more."""
    memory.pop(number, None)
    memory[number] = when
    while memory[oldest := next(iter(memory))] <= when - MEMORY or len(memory) > MOST_REMEMBERED:
        del memory[oldest]

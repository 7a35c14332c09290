"""Sources of demand: one board and one poll for all pools that look at the same jobs with the same token.

Webhooks are edge-triggered, polls level-triggered. A webhook about a waiting job does not contain the job's tags: if a
job of that name was listed before, it is assumed to have the same tags; otherwise the jobs are listed at once. A
webhook that reports a job as no longer waiting is believed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from bessemer.clock import Now
from bessemer.engine.boundary import contain
from bessemer.engine.loop import Key
from bessemer.errors import BessemerError, Invalid
from bessemer.gitlab.hooks import JobHook
from bessemer.gitlab.jobs import RunnerTraits, compute_matches
from bessemer.gitlab.protocol import GitLab, PendingJob, ProjectRef, Scope
from bessemer.kinds.runnerpool.demand.announcements import Announcements
from bessemer.kinds.runnerpool.demand.board import Board
from bessemer.kinds.runnerpool.demand.interest import Interest, Polls, SourceKey, compute_asked
from bessemer.kinds.runnerpool.demand.recollection import Recollection
from bessemer.kinds.runnerpool.facts import Demand
from bessemer.pauses import compute_growing_pause

WAITING = "pending"
"""Status of a job that waits for a runner. Source: https://docs.gitlab.com/api/jobs/"""
OVER = frozenset({"running", "success", "failed", "canceling", "canceled", "skipped"})
"""Statuses of a job that no longer waits. Earlier ones (created, manual and others) are ignored: webhooks may arrive
out of order."""
JITTER = 0.2
"""Polls are spread over this share of their interval, so that the polls of many pools don't coincide."""
SPACING_SECONDS = 0.3
"""Minimum time between two polls of a source, whatever the number of webhooks: a burst of jobs causes few polls."""
FIRST_BACK_OFF_SECONDS = 2.0
LONGEST_BACK_OFF_SECONDS = 60.0
"""Longest back-off; the interval of polls if that is shorter."""
PATIENCE_SECONDS = 180
"""How long polls may fail before the waiting jobs are reported as unknown: a restart of GitLab takes as long."""
EXPIRY_CHECK = timedelta(hours=6)
"""Interval at which GitLab is asked when the access token expires."""
FORETOLD = timedelta(days=7)
"""How long before its expiry the access token is reported."""
MOST_HINTS = 100
"""Maximum number of projects from webhooks whose jobs the next poll lists in any case."""
_log = logging.getLogger(__name__)


class Source:
    """The jobs of one scope, and the pools that use them."""

    def __init__(self, gitlab: GitLab, scope: Scope, now: Now, wake: Callable[[Key], None]) -> None:
        self.board = Board()
        self._announcements = Announcements()
        self._recollection = Recollection()
        self.pools: dict[Key, Interest] = {}
        """The pools that use the source."""
        self._gitlab, self._scope, self._now, self._wake = gitlab, scope, now, wake
        self._nudged = asyncio.Event()
        self._hints: list[ProjectRef] = []
        """Projects with an announced job that is not known yet."""
        self._note = ""
        self._ends: datetime | None = None
        self._ends_asked: datetime | None = None
        self._answered: datetime | None = None
        self._error: BessemerError | None = None
        self._failing: datetime | None = None
        self._task = asyncio.create_task(self._poll_for_ever(), name=f"poll {scope}")

    def nudge(self) -> None:
        """Poll as soon as possible."""
        self._nudged.set()

    def put_webhook(self, hook: JobHook) -> None:
        """Process a webhook about a job."""
        now = self._now()
        self._announcements.put_webhook(hook.job_id, hook.project_ref, now)
        if hook.status == WAITING:
            job = self._recollection.recall(hook)
            # That no pool takes the job may be outdated: listing the jobs now is faster than waiting for the next poll.
            if job is None or not self._list_takers([job]) or not self.board.put_job(job, now):
                self._hint(hook.project_ref)
                self.nudge()
            else:
                self._tell([job])
        elif hook.status in OVER:
            closed = self.board.close_job(hook.job_id, now)
            self._tell([closed] if closed is not None else [])

    def _hint(self, project: ProjectRef) -> None:
        """Make the next poll list a project's jobs, regardless of the number of projects."""
        if project.path and len(self._hints) < MOST_HINTS and not any(map(project.is_same, self._hints)):
            self._hints.append(project)

    def _tell(self, jobs: Iterable[PendingJob]) -> None:
        """Wake the pools that can take one of these jobs; most pools can't."""
        for pool in self._list_takers(jobs):
            self._wake(pool)

    def _list_takers(self, jobs: Iterable[PendingJob]) -> list[Key]:
        jobs = list(jobs)
        return [
            pool for pool, interest in self.pools.items() if any(compute_matches(job, interest.traits) for job in jobs)
        ]

    def _tell_all(self) -> None:
        for pool in self.pools:
            self._wake(pool)

    def compute_demand(self, traits: RunnerTraits) -> Demand:
        """Return the waiting jobs that a runner with these traits takes."""
        error = f"; last try: {self._error.message}" if self._error is not None else ""
        if self._answered is None:
            if self._error is not None:
                blind = isinstance(self._error, Invalid)
                return Demand(known=False, reason=self._error.reason, message=self._error.message, blind=blind)
            return Demand(known=False, reason="NotYetPolled", message="the waiting jobs are being listed")
        jobs = tuple(waiting for waiting in self.board.list_jobs() if compute_matches(waiting.job, traits))
        swapped, closed = self.board.list_swapped(), self.board.list_closed()
        demand = Demand(True, *self._find_reason(), jobs=jobs, swapped=swapped, closed=closed)
        patience = timedelta(seconds=PATIENCE_SECONDS)
        if self._error is not None and self._failing is not None and self._now() - self._failing > patience:
            message = f"not known since {self._answered.isoformat(timespec='seconds')}{error}"
            blind = isinstance(self._error, Invalid)
            return replace(demand, known=False, reason=self._error.reason, message=message, blind=blind)
        return demand

    def _find_reason(self) -> tuple[str, str]:
        """Return how the jobs are known.

        By polls alone if an expected webhook was silent; with the expiry of the access token if it is near.
        """
        now = self._now()
        if self._ends is not None and self._ends - now <= FORETOLD:
            return "AccessTokenExpires", f"the access token ends at {self._ends.isoformat(timespec='minutes')}"
        missed = self._announcements.find_missed(now)
        if missed is None or not any(pool.webhook for pool in self.pools.values()):
            return "Polled", self._note
        text = f"no webhook announced job {missed.id} of {missed.project}, which a poll found"
        return "WebhookSilent", f"{text}; GitLab shows its recent events, and lets one rest that failed several times"

    async def close(self) -> None:
        """Stop polling."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._gitlab.close()

    async def _poll_for_ever(self) -> None:
        failures = 0
        while True:
            self._nudged.clear()
            try:
                await contain(f"waiting jobs of {self._scope}", self._poll())
            except BessemerError as error:
                failures += 1
                self._error = error
                self._failing = self._failing or self._now()
                _log.warning("waiting jobs of %s: %s", self._scope, error)
                self._tell_all()
                await asyncio.sleep(self.compute_back_off(error, failures))
                continue
            failures = 0
            await asyncio.sleep(SPACING_SECONDS)
            # Not wait_for, which in Python 3.11 loses a cancellation that coincides with the nudge.
            # Source: https://github.com/python/cpython/issues/86296
            with suppress(TimeoutError):
                async with asyncio.timeout(self._compute_interval()):
                    await self._nudged.wait()

    async def _poll(self) -> None:
        began, hints = self._now(), tuple(self._hints)
        pending = await self._gitlab.list_pending_jobs(
            self._scope, with_protected=any(pool.traits.protected for pool in self.pools.values()), hints=hints
        )
        self._hints = [hint for hint in self._hints if hint not in hints]
        await self._check_expiry(began)
        before = {waiting.job.id: waiting.job for waiting in self.board.list_jobs()}
        self.board.put_poll(pending, began)
        self._note = "" if pending.complete else pending.note
        self._recollection.put_poll(pending.jobs)
        after = {waiting.job.id: waiting.job for waiting in self.board.list_jobs()}
        known = self._answered is not None and self._error is None
        self._error, self._failing, self._answered = None, None, self._now()
        if known:
            self._announcements.put_poll((job for number, job in after.items() if number not in before), self._now())
            self._tell((before | after).values())
        else:
            self._tell_all()

    async def _check_expiry(self, now: datetime) -> None:
        """Ask periodically when the access token expires; report nothing if GitLab does not say."""
        if self._ends_asked is not None and now - self._ends_asked < EXPIRY_CHECK:
            return
        self._ends_asked = now
        try:
            self._ends = await self._gitlab.get_expiry()
        except BessemerError as error:
            self._ends = None
            _log.info("waiting jobs of %s: when the access token ends is not known: %s", self._scope, error)

    def _compute_interval(self) -> float:
        return min((pool.poll_seconds for pool in self.pools.values()), default=60) * (1 + random.random() * JITTER)  # noqa: S311  no secret

    def compute_back_off(self, error: BessemerError, failures: int) -> float:
        """Return the pause that GitLab requests, otherwise a growing one."""
        asked = compute_asked(error)
        longest = min(self._compute_interval(), LONGEST_BACK_OFF_SECONDS)
        return max(asked, compute_growing_pause(FIRST_BACK_OFF_SECONDS, failures, longest))


class Sources:
    """All sources by key; each exists as long as a pool uses it."""

    def __init__(self, now: Now, wake: Callable[[Key], None]) -> None:
        self._now, self._wake = now, wake
        self._sources: dict[SourceKey, Source] = {}
        self._used: dict[Key, SourceKey] = {}

    def get_source(self, pool: Key) -> Source | None:
        """Return the source that a pool uses."""
        key = self._used.get(pool)
        return None if key is None else self._sources.get(key)

    def get_polls(self, pool: Key) -> Polls | None:
        """Return the polls in which a pool takes part; None if there are none."""
        source, key = self.get_source(pool), self._used.get(pool)
        interest = source.pools.get(pool) if source is not None else None
        return Polls(key, interest) if key is not None and interest is not None else None

    async def use(self, pool: Key, key: SourceKey, connect: Callable[[], GitLab]) -> Source:
        """Subscribe a pool to a source, which is created with ``connect`` if it is new."""
        if self._used.get(pool) != key:
            await self.leave(pool)
            if key not in self._sources:
                self._sources[key] = Source(connect(), key.scope, self._now, self._wake)
            self._used[pool] = key
        return self._sources[key]

    async def leave(self, pool: Key) -> None:
        """Unsubscribe a pool; a source without pools is stopped."""
        key = self._used.pop(pool, None)
        if key is None:
            return
        source = self._sources[key]
        source.pools.pop(pool, None)
        if key not in self._used.values():
            del self._sources[key]
            await source.close()

    async def close(self) -> None:
        """Stop all sources."""
        for pool in list(self._used):
            await self.leave(pool)

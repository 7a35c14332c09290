"""Where demand is learned: one board and one poll for all pools that look at the same jobs with the same token.

Webhooks are the edge, polls the level: a webhook that says that a job waits has the jobs listed at once, as it does not
say the job's tags; one that says otherwise is taken at its word.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bessemer.clock import Now
from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.gitlab.jobs import RunnerTraits, compute_matches
from bessemer.gitlab.protocol import GitLab, PendingJob, Scope
from bessemer.runnerpool.board import Board
from bessemer.runnerpool.facts import Demand
from bessemer.wakeups import Key

JITTER = 0.2
"""Polls are spread over this share of their interval, so that those of many pools don't fall together."""
SPACING_SECONDS = 0.3
"""Shortest time between two polls of a source, whatever webhooks come in: a burst of jobs is a few polls."""
LONGEST_WAIT_SECONDS = 3600.0
"""However much longer GitLab asks for: the longest of its own limits, and jobs must be seen again some day."""
FIRST_BACK_OFF_SECONDS = 2.0
_log = logging.getLogger(__name__)


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


class Source:
    """The jobs of one scope, and who wants to know of them."""

    def __init__(self, gitlab: GitLab, scope: Scope, now: Now, wake: Callable[[Key], None]) -> None:
        self.board = Board()
        self.pools: dict[Key, Interest] = {}
        """The pools that look at the source."""
        self._gitlab, self._scope, self._now, self._wake = gitlab, scope, now, wake
        self._nudged = asyncio.Event()
        self._answered: datetime | None = None
        self._error: BessemerError | None = None
        self._task = asyncio.create_task(self._poll_for_ever(), name=f"poll {scope}")

    def nudge(self) -> None:
        """Poll as soon as possible."""
        self._nudged.set()

    def tell(self, jobs: Iterable[PendingJob]) -> None:
        """Have those pools looked at that take one of these jobs: of many pools, most have nothing to do with them."""
        jobs = list(jobs)
        for pool, interest in self.pools.items():
            if any(compute_matches(job, interest.traits) for job in jobs):
                self._wake(pool)

    def _tell_all(self) -> None:
        for pool in self.pools:
            self._wake(pool)

    def compute_demand(self, traits: RunnerTraits, poll_seconds: int) -> Demand:
        """Give the waiting jobs that such a runner takes."""
        error = f"; last try: {self._error.message}" if self._error is not None else ""
        if self._answered is None:
            if self._error is not None:
                blind = isinstance(self._error, Invalid)
                return Demand(known=False, reason=self._error.reason, message=self._error.message, blind=blind)
            return Demand(known=False, reason="NotYetPolled", message="the waiting jobs are being listed")
        jobs = tuple(waiting for waiting in self.board.list_jobs() if compute_matches(waiting.job, traits))
        demand = Demand(True, "Polled", jobs=jobs, swapped=self.board.list_swapped())
        if self._error is not None and self._now() - self._answered > timedelta(seconds=3 * poll_seconds):
            message = f"not known since {self._answered.isoformat(timespec='seconds')}{error}"
            blind = isinstance(self._error, Invalid)
            return replace(demand, known=False, reason=self._error.reason, message=message, blind=blind)
        return demand

    async def close(self) -> None:
        """Stop polling."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._gitlab.close()

    async def _poll_for_ever(self) -> None:
        failures = 0
        while True:
            self._nudged.clear()
            began = self._now()
            try:
                pending = await self._gitlab.list_pending_jobs(
                    self._scope, with_protected=any(pool.traits.protected for pool in self.pools.values())
                )
            except BessemerError as error:
                failures += 1
                self._error = error
                _log.warning("waiting jobs of %s: %s", self._scope, error)
                self._tell_all()
                await asyncio.sleep(self._compute_back_off(error, failures))
                continue
            known = self._answered is not None and self._error is None
            failures, self._error, self._answered = 0, None, self._now()
            before = self.board.list_jobs()
            self.board.put_poll(pending.jobs, began)
            if known:
                self.tell({one.job.id: one.job for one in (*before, *self.board.list_jobs())}.values())
            else:
                self._tell_all()
            await asyncio.sleep(SPACING_SECONDS)
            try:
                await asyncio.wait_for(self._nudged.wait(), self._compute_interval())
            except TimeoutError:
                continue

    def _compute_interval(self) -> float:
        return min((pool.poll_seconds for pool in self.pools.values()), default=60) * (1 + random.random() * JITTER)  # noqa: S311  no secret

    def _compute_back_off(self, error: BessemerError, failures: int) -> float:
        """Wait as long as GitLab asks for, else ever longer, up to the interval of polls."""
        asked = min(error.after or 0.0, LONGEST_WAIT_SECONDS) if isinstance(error, Retry) else 0.0
        own: float = min(FIRST_BACK_OFF_SECONDS * 2 ** min(failures - 1, 10), self._compute_interval())
        return max(asked, own)


class Sources:
    """All sources, by what they poll; each lives as long as a pool looks at it."""

    def __init__(self, now: Now, wake: Callable[[Key], None]) -> None:
        self._now, self._wake = now, wake
        self._sources: dict[SourceKey, Source] = {}
        self._used: dict[Key, SourceKey] = {}

    def get_source(self, pool: Key) -> Source | None:
        """Give the source that a pool looks at."""
        key = self._used.get(pool)
        return None if key is None else self._sources.get(key)

    async def use(self, pool: Key, key: SourceKey, connect: Callable[[], GitLab]) -> Source:
        """Have a pool look at a source, which is made with ``connect`` if it is new."""
        if self._used.get(pool) != key:
            await self.leave(pool)
            if key not in self._sources:
                self._sources[key] = Source(connect(), key.scope, self._now, self._wake)
            self._used[pool] = key
        return self._sources[key]

    async def leave(self, pool: Key) -> None:
        """Have a pool look at nothing; a source that no pool looks at ends."""
        key = self._used.pop(pool, None)
        if key is None:
            return
        source = self._sources[key]
        source.pools.pop(pool, None)
        if key not in self._used.values():
            del self._sources[key]
            await source.close()

    async def close(self) -> None:
        """End all sources."""
        for pool in list(self._used):
            await self.leave(pool)

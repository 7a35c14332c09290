"""What was found out about a pool's runner, and for how long that is good. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.gitlab.protocol import Identity
from bessemer.kinds.runnerpool.facts import RunnerFact
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.record import Record

CHECK_SECONDS = 30
"""Between two reads of the Secrets that a pool names, where not all of them are watched."""
WATCHED_CHECK_SECONDS = 300
"""The same where all of them are watched: what is missed costs time, never correctness."""
LASTING_SECONDS = 2 * WATCHED_CHECK_SECONDS
"""After that long without a successful check, the condition says since when nothing is confirmed."""
REFRESH_PAUSE = timedelta(seconds=2)
"""Between two reads of Secrets because something was refused: any client may be refused as often as it likes."""
VERIFY_SECONDS = 3600
"""Between two questions to GitLab whether it still takes the runner's token, if the token has not changed. Each costs
two requests; a token that is refused is noticed by the first pod that it is refused to."""
PARTING_TIME = timedelta(seconds=60)
"""A Secret and a pool that are deleted in that time are deleted together. Kubernetes takes seconds for a namespace; the
clocks of API server and operator may differ by some more."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Registered:
    """A runner that GitLab has confirmed, and where: its token goes there and nowhere else."""

    url: str
    ca: str | None = field(repr=False)
    token: str = field(repr=False)
    verified: datetime
    """When GitLab last said whose token that is."""

    def is_due(self, now: datetime) -> bool:
        """Return whether GitLab must be asked again."""
        return now - self.verified >= timedelta(seconds=VERIFY_SECONDS)


@dataclass(frozen=True)
class Parting:
    """What was known when the first of a pool's Secrets went: when a namespace is deleted, they go before its pools."""

    at: datetime
    access: Access = field(repr=False)
    registered: Registered | None = field(repr=False)


@dataclass(frozen=True)
class Known:
    """What was found out about a pool's runner, and when."""

    fact: RunnerFact
    uid: str
    """Of the pool: another of the same name has another runner."""
    generation: int
    checked: datetime
    registered: Registered | None = None
    """As it was last, whatever has become of the pool since."""
    access: Access | None = field(default=None, repr=False)
    record: Record | None = field(default=None, repr=False)
    """The record of the runner, where it was created for the pool."""
    confirmed: datetime = LONG_AGO
    """When all of it was last found in order."""
    parting: Parting | None = field(default=None, repr=False)
    """For a pool that is deleted together with its Secrets, and for nothing else."""
    refreshed: datetime = LONG_AGO
    """When the webhook's secret was last read because one did not fit."""

    def is_fresh(self, pool: RunnerPool, now: datetime, seconds: float, pause: float) -> bool:
        """Return whether nothing need be read again yet; nor is it while GitLab asks for a pause."""
        return self.generation == pool.generation and (pause > 0 or now - self.checked < timedelta(seconds=seconds))

    def find_recent(self, url: str, token: str, now: datetime) -> Registered | None:
        """Return what GitLab said of a token, where that was a short while ago."""
        last = self.registered
        return last if last is not None and (last.url, last.token) == (url, token) and not last.is_due(now) else None

    def find_identity(self, url: str, token: str, now: datetime) -> Identity | None:
        """Return whose token that is, where GitLab said so a short while ago."""
        if self.fact.id is None or self.find_recent(url, token, now) is None:
            return None
        return Identity(self.fact.id, self.fact.expires_at)


def find_parting(known: Known | None, pool: RunnerPool) -> Parting | None:
    """Return what a deleted pool may still use of Secrets that went together with it; None where none did."""
    parting = known.parting if known is not None else None
    if parting is None or pool.deleted is None or abs(pool.deleted - parting.at) > PARTING_TIME:
        return None
    return parting

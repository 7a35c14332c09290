"""Knowledge about a pool's runner from earlier passes, and how long it is valid. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.gitlab.protocol import Identity
from bessemer.kinds.runnerpool.facts import RunnerFact
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.record import Record

CHECK_SECONDS = 30
"""Time between two reads of the Secrets that a pool names if not all of them are watched."""
WATCHED_CHECK_SECONDS = 300
"""The same if all of them are watched: a missed event costs time, never correctness."""
LASTING_SECONDS = 2 * WATCHED_CHECK_SECONDS
"""After this time without a successful check, the condition reports since when nothing has been confirmed."""
VERIFY_SECONDS = 3600
"""Time between two verifications of an unchanged runner token. Each costs two requests to GitLab; a refused token is
noticed by the first pod that uses it."""
PARTING_TIME = timedelta(seconds=60)
"""A Secret and a pool that are deleted within this time are deleted together. Kubernetes takes seconds to delete a
namespace; the rest allows for clocks that differ between API server and operator."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Registered:
    """A runner that GitLab has confirmed, and its GitLab: the token is sent there and nowhere else."""

    url: str
    ca: str | None = field(repr=False)
    token: str = field(repr=False)
    verified: datetime
    """When GitLab last confirmed the token's runner."""

    def is_due(self, now: datetime) -> bool:
        """Return whether GitLab must be asked again."""
        return now - self.verified >= timedelta(seconds=VERIFY_SECONDS)


@dataclass(frozen=True)
class Parting:
    """Knowledge from before the first of a pool's Secrets was deleted.

    A deleted namespace deletes them before its pools.
    """

    at: datetime
    access: Access = field(repr=False)
    registered: Registered | None = field(repr=False)


@dataclass(frozen=True)
class Known:
    """Knowledge about a pool's runner, with times."""

    fact: RunnerFact
    uid: str
    """UID of the pool: another pool of the same name has another runner."""
    generation: int
    checked: datetime
    registered: Registered | None = None
    """The last known registration, whatever has happened to the pool since."""
    access: Access | None = field(default=None, repr=False)
    record: Record | None = field(default=None, repr=False)
    """The record of the runner, if it was created for the pool."""
    confirmed: datetime = LONG_AGO
    """When everything was last confirmed."""
    parting: Parting | None = field(default=None, repr=False)
    """Used only for a pool that is deleted together with its Secrets."""
    refreshed: datetime = LONG_AGO
    """When the secret of webhooks was last read because a request did not match."""
    heard: int = 0
    """How many changes of the pool's Secrets had been heard of before they were read."""

    def is_fresh(self, pool: RunnerPool, now: datetime, seconds: float, pause: float) -> bool:
        """Return whether nothing needs to be read yet, because the knowledge is recent or GitLab asks for a pause."""
        return self.generation == pool.generation and (pause > 0 or now - self.checked < timedelta(seconds=seconds))

    def find_recent(self, url: str, token: str, now: datetime) -> Registered | None:
        """Return GitLab's answer about a token if it is recent."""
        last = self.registered
        return last if last is not None and (last.url, last.token) == (url, token) and not last.is_due(now) else None

    def find_identity(self, url: str, token: str, now: datetime) -> Identity | None:
        """Return the token's identity if GitLab has confirmed it recently."""
        if self.fact.id is None or self.find_recent(url, token, now) is None:
            return None
        return Identity(self.fact.id, self.fact.expires_at)


def find_parting(known: Known | None, pool: RunnerPool) -> Parting | None:
    """Return what a deleted pool may still use of Secrets deleted together with it; None if there are none."""
    parting = known.parting if known is not None else None
    if parting is None or pool.deleted is None or abs(pool.deleted - parting.at) > PARTING_TIME:
        return None
    return parting

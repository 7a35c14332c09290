"""What was found out of a pool's runner, and for how long that is good. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.engine.loop import Key
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import RunnerFact
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.managed import Record

CHECK_SECONDS = 30
"""How often the Secrets that a pool names are read again where nobody would say that they have changed."""
WATCHED_CHECK_SECONDS = 300
"""The same where all of them are watched: what is missed costs time, never correctness."""
LASTING_SECONDS = 2 * WATCHED_CHECK_SECONDS
"""After that long without a check that went well, it is said since when nothing is confirmed."""
RETRY_SECONDS = 5
"""How often it is tried again to find or create the runner."""
REFRESH_PAUSE = timedelta(seconds=2)
"""Between two reads of Secrets because something was refused: strangers may be refused as often as they like."""
VERIFY_SECONDS = 3600
"""How often GitLab is asked whether it still takes the runner's token, if the token has not changed. It costs two
requests; that the token is refused is seen by the first pod that it is refused to."""
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
        """Whether GitLab is to be asked again."""
        return now - self.verified >= timedelta(seconds=VERIFY_SECONDS)


@dataclass(frozen=True)
class Parting:
    """What was known when the first of a pool's Secrets went: when a namespace is deleted, they go before its pools."""

    at: datetime
    access: Access = field(repr=False)
    registered: Registered | None = field(repr=False)


@dataclass(frozen=True)
class Known:
    """What was found out of a pool's runner, and when."""

    fact: RunnerFact
    uid: str
    """Of the pool: another of the same name has another runner."""
    generation: int
    checked: datetime
    registered: Registered | None = None
    """As it was last, whatever has become of the pool since."""
    access: Access | None = field(default=None, repr=False)
    record: Record | None = field(default=None, repr=False)
    """What is written down of a runner of ours."""
    confirmed: datetime = LONG_AGO
    """When all of it was last found in order."""
    parting: Parting | None = field(default=None, repr=False)
    """For a pool that goes together with its Secrets, and for nothing else."""
    refreshed: datetime = LONG_AGO
    """When the webhook's secret was last read because one did not fit."""


def get_known(deps: PoolDeps, pool: RunnerPool) -> Known | None:
    """Give what is known of this pool's runner; of an earlier pool of its name nothing is."""
    known: Known | None = deps.runners.get((pool.namespace, pool.name))
    return known if known is not None and known.uid == pool.uid else None


def find_parting(known: Known | None, pool: RunnerPool) -> Parting | None:
    """Return what a deleted pool may still use of Secrets that went together with it; None where none did."""
    parting = known.parting if known is not None else None
    if parting is None or pool.deleted is None or abs(pool.deleted - parting.at) > PARTING_TIME:
        return None
    return parting


def compute_check_seconds(deps: PoolDeps, pool: RunnerPool) -> int:
    """Give how long what is known of a pool's runner is good, if nothing is heard."""
    known = get_known(deps, pool)
    if known is None or not known.fact.ready:
        return RETRY_SECONDS
    # Of the cluster that a pool's jobs run on nobody tells the pool.
    slurm = pool.spec.executor.slurm if pool.spec is not None else None
    heard = deps.secrets.are_heard((pool.namespace, pool.name)) and (slurm is None or slurm.cluster_ref is None)
    return WATCHED_CHECK_SECONDS if heard else CHECK_SECONDS


def doubt_runner(deps: PoolDeps, key: Key) -> None:
    """Have Secrets and token looked at in the next pass: something was refused, and a rotation would explain it."""
    known: Known | None = deps.runners.get(key)
    if known is not None and deps.now() - known.checked >= REFRESH_PAUSE:
        doubted = replace(known.registered, verified=LONG_AGO) if known.registered is not None else None
        deps.runners[key] = replace(known, checked=LONG_AGO, registered=doubted)

"""What a pass has found out about a pool's runner, kept for the next pass. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from bessemer.api.reasons import CLUSTER_NOT_READY
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.errors import BessemerError, Retry
from bessemer.gitlab.protocol import GitLabUnavailable, RateLimited
from bessemer.kinds.runnerpool.facts import RunnerFact
from bessemer.kinds.runnerpool.runner.facts import RunnerFacts
from bessemer.kinds.runnerpool.runner.known import LASTING_SECONDS, Known, Parting, Registered
from bessemer.kinds.runnerpool.runner.plan import Plan, Settled
from bessemer.kube.protocol import Unavailable

PASSING = (GitLabUnavailable, RateLimited, Unavailable)
PASSING_REASONS = frozenset({CLUSTER_NOT_READY, "Conflict", "Vanished"})
"""Failures that don't invalidate earlier knowledge. A deleted Secret does, and so does any reason not listed here."""


def conclude(facts: RunnerFacts, plan: Plan, now: datetime) -> Known:
    """Return the knowledge after the last decision of a pass."""
    if plan.settled is not None:
        return _note_settled(facts, plan.settled, now)
    if plan.failure is None:
        raise ValueError("a pass ends with a runner or with what is wrong with it")
    before = facts.known
    known = _explain_failure(before, plan.failure, facts.pool, now)
    access = facts.access if facts.access is not None else before.access if before is not None else None
    return _drop_values(replace(known, access=access), before, facts.spec, now)


def _note_settled(facts: RunnerFacts, settled: Settled, now: datetime) -> Known:
    access, url = facts.access, facts.spec.gitlab.url
    recent = facts.known.find_recent(url, settled.token, now) if facts.known is not None else None
    verified = recent.verified if recent is not None else now
    registered = Registered(url, access.ca if access is not None else None, settled.token, verified)
    record = facts.record if facts.spec.runner.managed is not None else None
    pool = facts.pool
    return Known(settled.fact, pool.uid, pool.generation, now, registered, access, record, confirmed=now)


def _explain_failure(known: Known | None, error: BessemerError, pool: RunnerPool, now: datetime) -> Known:
    """Return the earlier knowledge if GitLab or Kubernetes merely does not answer, with the failure if that lasts.

    Otherwise return the error.
    """
    passing = isinstance(error, PASSING) or (isinstance(error, Retry) and error.reason in PASSING_REASONS)
    if known is not None and known.fact.ready and passing and known.generation == pool.generation:
        message = f"as it was at {known.confirmed.isoformat(timespec='minutes')}; since then: {error.message}"
        lasting = now - known.confirmed > timedelta(seconds=LASTING_SECONDS)
        return replace(known, checked=now, fact=replace(known.fact, message=message) if lasting else known.fact)
    last = known.fact.id if known is not None else pool.status.runner.id
    fact = RunnerFact(ready=False, reason=error.reason, message=error.message, id=last)
    if known is None:
        return Known(fact, pool.uid, pool.generation, now)
    return replace(known, fact=fact, generation=pool.generation, checked=now)


def _drop_values(known: Known, before: Known | None, spec: RunnerPoolSpec, now: datetime) -> Known:
    """Drop values of deleted Secrets; the last complete set is kept for a pool that is deleted together with them."""
    access = known.access
    if access is None or access.problem is None:
        return replace(known, parting=None)
    if before is not None and before.access is not None and before.access.problem is None:
        known = replace(known, parting=Parting(now, before.access, before.registered))
    given = spec.runner.token_secret is not None
    return replace(known, registered=None) if given and access.runner_token is None else known

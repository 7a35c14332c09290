"""See to it that a pool's runner is there in GitLab, and its configuration in the pool's Secret."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from pydantic import ValidationError

from bessemer.api.base import explain_validation_error
from bessemer.api.names import runner_secret_name
from bessemer.api.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.api.runnerpool.spec import AccessLevel, GitLabConnection, RunnerPoolSpec
from bessemer.engine.loop import Key
from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.gitlab.jobs import RunnerTraits, make_names
from bessemer.gitlab.protocol import GitLab, GitLabUnavailable, Identity, RateLimited
from bessemer.kinds.runnerpool.demand.sources import Interest, Source, SourceKey
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.facts import RunnerFact
from bessemer.kinds.runnerpool.render.config import build_secret_data
from bessemer.kinds.runnerpool.render.manifest import compute_template
from bessemer.kinds.runnerpool.runner.access import (
    Access,
    SecretMissing,
    get_access,
    get_api_access,
    get_webhook_secret,
    list_secrets,
)
from bessemer.kinds.runnerpool.runner.account import ensure_account
from bessemer.kinds.runnerpool.runner.cluster import get_slurm_host
from bessemer.kinds.runnerpool.runner.known import (
    LASTING_SECONDS,
    REFRESH_PAUSE,
    Known,
    Parting,
    Registered,
    compute_check_seconds,
    find_parting,
    get_known,
)
from bessemer.kinds.runnerpool.runner.managed import Record, RunnerKeeper, build_scope, parse_record
from bessemer.kinds.runnerpool.runner.managers import delete_left_managers
from bessemer.kinds.runnerpool.runner.pauses import compute_pause, put_pause
from bessemer.kinds.runnerpool.runner.record_secret import apply_pool_secret, get_pool_secret
from bessemer.kube.protocol import Object, Unavailable

PASSING = (GitLabUnavailable, RateLimited, Unavailable)
PASSING_REASONS = frozenset({"ClusterNotReady", "Conflict", "Vanished"})
"""Failures that say nothing against what was known. A Secret that is gone does, and so does what nobody has thought of.
"""
_log = logging.getLogger(__name__)


async def get_runner(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec) -> RunnerFact:
    """Give the pool's runner, seeing to it that it is there; what is missing or wrong is part of the fact."""
    now = deps.now()
    key = (pool.namespace, pool.name)
    known = get_known(deps, pool)
    # Taken before anything is read: what changes while it is read is heard of once more.
    if not deps.secrets.take_change(key) and known is not None and _is_fresh(deps, pool, known):
        return known.fact
    deps.secrets.use(key, {*list_secrets(spec), runner_secret_name(pool.name)})
    before = known
    access = known.access if known is not None else None
    try:
        access = await get_access(deps, pool.namespace, spec)
        await _take_access(deps, pool, spec, access)
        known = await _ensure_runner(deps, pool, spec, known, access)
        put_pause(deps, key, None)
    except BessemerError as error:
        known = _drop_values(replace(_explain_failure(known, error, pool, now), access=access), before, spec, now)
        put_pause(deps, key, error)
    deps.runners[key] = known
    return known.fact


async def _take_access(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec, access: Access) -> None:
    """Use what the Secrets hold now, and nothing that they held before; raises what is wrong with one."""
    await use_source(deps, pool, spec, access)
    if access.api_token is None and spec.gitlab.api_token_secret is not None:
        await deps.doors.leave((pool.namespace, pool.name))
    access.require()


def _drop_values(known: Known, before: Known | None, spec: RunnerPoolSpec, now: datetime) -> Known:
    """Forget what stood in Secrets that are gone; what was whole before is kept for a pool that goes with them."""
    access = known.access
    if access is None or access.problem is None:
        return replace(known, parting=None)
    if before is not None and before.access is not None and before.access.problem is None:
        known = replace(known, parting=Parting(now, before.access, before.registered))
    given = spec.runner.token_secret is not None
    return replace(known, registered=None) if given and access.runner_token is None else known


def _is_fresh(deps: PoolDeps, pool: RunnerPool, known: Known) -> bool:
    """Tell whether it need not be looked at again yet; nor is it while GitLab wants a pause."""
    if known.generation != pool.generation:
        return False
    age = timedelta(seconds=compute_check_seconds(deps, pool))
    return compute_pause(deps, (pool.namespace, pool.name)) > 0 or deps.now() - known.checked < age


def _explain_failure(known: Known | None, error: BessemerError, pool: RunnerPool, now: datetime) -> Known:
    """Go on with what was known where that is not in doubt, as GitLab or Kubernetes is away, and say so where that is
    longer; else say what is wrong."""
    passing = isinstance(error, PASSING) or (isinstance(error, Retry) and error.reason in PASSING_REASONS)
    if known is not None and known.fact.ready and passing and known.generation == pool.generation:
        message = f"as it was at {known.confirmed.isoformat(timespec='minutes')}; since then: {error.message}"
        lasting = now - known.confirmed > timedelta(seconds=LASTING_SECONDS)
        return replace(known, checked=now, fact=replace(known.fact, message=message) if lasting else known.fact)
    last = known.fact.id if known else pool.status.runner.id
    fact = RunnerFact(ready=False, reason=error.reason, message=error.message, id=last)
    if known is None:
        return Known(fact, pool.uid, pool.generation, now)
    return replace(known, fact=fact, generation=pool.generation, checked=now)


async def use_source(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec, access: Access) -> Source | None:
    """Have the pool look at its source of demand; None without an access token."""
    key = (pool.namespace, pool.name)
    if access.api_token is None:
        await deps.sources.leave(key)
        return None
    source_key = SourceKey(
        spec.gitlab.url, build_scope(spec.gitlab), _digest(access.api_token), _digest(access.ca or "")
    )
    connect = deps.doors.connect
    source = await deps.sources.use(key, source_key, lambda: connect(spec.gitlab.url, access.api_token, access.ca))
    expects = spec.gitlab.webhook_secret is not None
    source.pools[key] = Interest(build_traits(spec), spec.gitlab.poll_seconds, webhook=expects)
    return source


def build_traits(spec: RunnerPoolSpec) -> RunnerTraits:
    """Give what decides which jobs the pool's runner is given."""
    return RunnerTraits(
        scope=build_scope(spec.gitlab),
        tags=make_names(spec.runner.tags),
        run_untagged=spec.runner.run_untagged,
        protected=spec.runner.access_level is AccessLevel.REF_PROTECTED,
    )


def get_webhook_access(deps: PoolDeps, key: Key) -> Access | None:
    """Return what webhooks of a pool prove themselves with; None for a pool that is not known or takes none."""
    known: Known | None = deps.runners.get(key)
    access = known.access if known is not None else None
    return access if access is not None and access.takes_webhooks else None


async def refresh_webhook_secret(deps: PoolDeps, key: Key) -> str | None:
    """Read the secret again, as one that does not fit may be that of yesterday; not more often than it is worth."""
    known: Known | None = deps.runners.get(key)
    raw = deps.pools.get(key)
    if known is None or known.access is None or raw is None or deps.now() - known.refreshed < REFRESH_PAUSE:
        return None
    deps.runners[key] = known = replace(known, refreshed=deps.now())
    pool = parse_runner_pool(raw)
    if pool.spec is None:
        return None
    try:
        secret = await get_webhook_secret(deps, pool.namespace, pool.spec.gitlab)
    except BessemerError:
        return None
    # As it is by now: a pass may have gone by.
    known = get_known(deps, pool)
    if known is not None and known.access is not None:
        deps.runners[key] = replace(known, access=replace(known.access, webhook_secret=secret))
    return secret


async def delete_runner(deps: PoolDeps, pool: RunnerPool) -> None:
    """Have GitLab forget the runner, if it is ours, else its managers; raises what keeps that from being done."""
    key = (pool.namespace, pool.name)
    # As it was known last, where it was: when a namespace is deleted, its Secrets go before its pools.
    known = get_known(deps, pool)
    secret = await get_pool_secret(deps, pool)
    try:
        record = known.record if secret is None and known is not None else parse_record(secret)
    except Invalid as error:
        # It is found by its marker all the same, where it is the pool's own.
        _log.warning("%s/%s: %s", pool.namespace, pool.name, error)
        record = known.record if known is not None else None
    if record is None and (pool.spec is None or pool.spec.runner.managed is None):
        try:
            await delete_left_managers(deps, pool)
        except Invalid as error:
            # The token is no longer good: its runner is gone, or nothing can be done for it.
            _log.info("%s/%s: managers are left: %s", pool.namespace, pool.name, error)
        return
    connection = _parse_connection(deps.pools.get(key) or {})
    try:
        access = await _get_last_access(deps, pool, connection)
        gitlab = await deps.doors.use(key, connection.url, access.api_token, access.ca)
        await RunnerKeeper(deps, pool, gitlab).delete(connection, record)
    except BessemerError as error:
        # Where none is written down, and the token may not even list runners, there is none: nothing to wait for. Nor
        # is there where the Secret is missing, which is made first, and we would have seen it: it goes early only where
        # the whole namespace goes.
        never = secret is None and known is not None and pool.status.runner.id is None
        if record is not None or not (never or isinstance(error, (Invalid, SecretMissing))):
            raise
        _log.info("%s/%s: no runner was created: %s", pool.namespace, pool.name, error)


async def _get_last_access(deps: PoolDeps, pool: RunnerPool, connection: GitLabConnection) -> Access:
    """Return what a pool that goes asks GitLab with; raises what is wrong with its Secrets."""
    known = get_known(deps, pool)
    access = known.access if known is not None else None
    if access is None or access.problem is not None:
        parting = find_parting(known, pool)
        access = parting.access if parting is not None else await get_api_access(deps, pool.namespace, connection)
    access.require()
    return access


def _parse_connection(raw: Object) -> GitLabConnection:
    """Read what the rest of the spec may be too wrong for: a runner of ours is to go whatever else was changed."""
    try:
        return GitLabConnection.model_validate((raw.get("spec") or {}).get("gitlab"))
    except ValidationError as error:
        raise Invalid("InvalidSpec", explain_validation_error(error, "spec.gitlab")) from error


async def _ensure_runner(
    deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec, known: Known | None, access: Access
) -> Known:
    now = deps.now()
    # All that may be missing is asked for first: a runner that can't be used must not be created, nor its token spent.
    secret = await get_pool_secret(deps, pool)
    await ensure_account(deps, pool, spec)
    slurm_host = await get_slurm_host(deps, pool, spec)
    key = (pool.namespace, pool.name)
    gitlab = await deps.doors.use(key, spec.gitlab.url, access.api_token, access.ca)
    keeper = RunnerKeeper(deps, pool, gitlab)
    record: Record | None = None
    if spec.runner.managed is not None:
        verify = partial(_verify, gitlab, known, spec.gitlab.url, now)
        record, secret = await keeper.ensure(spec, spec.runner.managed, secret, verify)
        token = record.registration.token
        identity = Identity(record.registration.id, record.registration.expires_at)
    else:
        token = access.runner_token or ""
        found = await _verify(gitlab, known, spec.gitlab.url, now, token)
        if found is None:
            raise Invalid("TokenRefused", "GitLab refuses the token in spec.runner.tokenSecret")
        identity, former = found, parse_record(secret)
        if former is not None:
            secret = await keeper.give_up(spec.gitlab, former, secret)
    data = build_secret_data(pool, spec, token, access.others, slurm_host) | (record.to_data() if record else {})
    written = await apply_pool_secret(deps, pool, secret, data)
    fact = RunnerFact(
        ready=True,
        reason="Registered",
        id=identity.id,
        expires_at=identity.expires_at,
        template=compute_template(pool, spec, deps.settings, str(written["metadata"]["resourceVersion"])),
    )
    recent = _find_recent(known, spec.gitlab.url, now, token)
    registered = Registered(spec.gitlab.url, access.ca, token, recent.verified if recent is not None else now)
    return Known(fact, pool.uid, pool.generation, now, registered, access, record, confirmed=now)


def _find_recent(known: Known | None, url: str, now: datetime, token: str) -> Registered | None:
    """Give what GitLab said of a token, where that was a short while ago."""
    last = known.registered if known is not None else None
    return last if last is not None and (last.url, last.token) == (url, token) and not last.is_due(now) else None


async def _verify(gitlab: GitLab, known: Known | None, url: str, now: datetime, token: str) -> Identity | None:
    """Ask GitLab whose token that is, unless it said so a short while ago."""
    if known is not None and known.fact.id is not None and _find_recent(known, url, now, token) is not None:
        return Identity(known.fact.id, known.fact.expires_at)
    return await gitlab.verify_runner(token)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

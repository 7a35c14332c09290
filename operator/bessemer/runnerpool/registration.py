"""See to it that a pool's runner is there in GitLab, and its configuration in the pool's Secret.

A runner of ours is known by its marker, the pool's UID, which GitLab shows in its description. One whose token was
never written down, as the operator died in between, is found by it and deleted: nothing leaks, whenever it dies.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bessemer.errors import BessemerError, Invalid, Retry
from bessemer.gitlab.jobs import RunnerTraits
from bessemer.gitlab.protocol import GitLab, Identity, Registration, RunnerRequest, Scope, ScopeType
from bessemer.kube.client import SECRETS, AlreadyExists, Object
from bessemer.names import runner_secret_name, runner_system_id
from bessemer.resource import parse_time
from bessemer.runnerpool.account import ensure_account
from bessemer.runnerpool.cluster import get_slurm_host
from bessemer.runnerpool.config import CA_KEY, build_secret_data, list_references
from bessemer.runnerpool.deps import PoolDeps
from bessemer.runnerpool.facts import RunnerFact
from bessemer.runnerpool.manifest import build_runner_secret, compute_template
from bessemer.runnerpool.references import SecretReference
from bessemer.runnerpool.resource import RunnerPool, parse_runner_pool
from bessemer.runnerpool.sources import Interest, Source, SourceKey
from bessemer.runnerpool.spec import AccessLevel, RunnerPoolSpec
from bessemer.wakeups import Key

CHECK_SECONDS = 30
"""How often the Secrets that a pool names are read again, whatever is heard of them."""
VERIFY_SECONDS = 600
"""How often GitLab is asked whether it still takes the runner's token, if the token has not changed."""
REFRESH_PAUSE = timedelta(seconds=2)
"""Between two reads of Secrets because something was refused: strangers may be refused as often as they like."""
RETRY_SECONDS = 5
"""How often it is tried again to find or create the runner."""
_log = logging.getLogger(__name__)


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Access:
    """The user's secrets that a pool names, as they were read."""

    api_token: str | None = field(repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    others: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the runner's configuration needs, by the names of :func:`config.list_references`."""

    @property
    def ca(self) -> str | None:
        """The authorities that GitLab's certificate is checked with."""
        return self.others.get(CA_KEY)


@dataclass(frozen=True)
class Known:
    """What was found out of a pool's runner, and when."""

    fact: RunnerFact
    generation: int
    checked: datetime
    verified: datetime | None = None
    token: str = field(default="", repr=False)
    """The runner's own."""
    access: Access | None = field(default=None, repr=False)
    refreshed: datetime = _LONG_AGO
    """When the webhook's secret was last read because one did not fit."""

    def is_fresh(self, generation: int, now: datetime) -> bool:
        """Whether it need not be looked at again yet."""
        age = CHECK_SECONDS if self.fact.ready else RETRY_SECONDS
        return generation == self.generation and now - self.checked < timedelta(seconds=age)


async def get_runner(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec) -> RunnerFact:
    """Give the pool's runner, seeing to it that it is there; what is missing or wrong is part of the fact."""
    now = deps.now()
    key = (pool.namespace, pool.name)
    known: Known | None = deps.runners.get(key)
    # Taken before anything is read: what changes while it is read is heard of once more.
    if not deps.secrets.take_change(key) and known is not None and known.is_fresh(pool.generation, now):
        return known.fact
    deps.secrets.use(key, _list_secrets(spec))
    try:
        known = await _ensure_runner(deps, pool, spec, known)
    except (Invalid, Retry) as error:
        known = _explain_failure(known, error, pool, now)
    deps.runners[key] = known
    return known.fact


def _explain_failure(known: Known | None, error: Invalid | Retry, pool: RunnerPool, now: datetime) -> Known:
    """Go on with what was known where GitLab is away for a moment; else say what is wrong."""
    if known is not None and known.fact.ready and isinstance(error, Retry) and known.generation == pool.generation:
        return replace(known, checked=now)
    last = known.fact.id if known else pool.status.runner.id
    fact = RunnerFact(ready=False, reason=error.reason, message=error.message, id=last)
    if known is None:
        return Known(fact, pool.generation, now)
    return replace(known, fact=fact, generation=pool.generation, checked=now)


async def get_access(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec) -> Access:
    """Read the user's secrets that the spec names; raises Retry naming what is missing."""
    gitlab = spec.gitlab
    others = {
        key: await _get_secret(deps, pool, reference, where) or ""
        for key, (reference, where) in list_references(spec).items()
    }
    return Access(
        await _get_secret(deps, pool, gitlab.api_token_secret, "spec.gitlab.apiTokenSecret"),
        await _get_secret(deps, pool, gitlab.webhook_secret, "spec.gitlab.webhookSecret"),
        others,
    )


def _list_secrets(spec: RunnerPoolSpec) -> set[str]:
    """Name the user's Secrets that a pool reads."""
    own = (spec.gitlab.api_token_secret, spec.gitlab.webhook_secret, spec.runner.token_secret)
    others = (reference for reference, _ in list_references(spec).values())
    return {reference.name for reference in (*own, *others) if reference is not None}


async def use_source(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec, access: Access) -> Source | None:
    """Have the pool look at its source of demand; None without an access token."""
    key = (pool.namespace, pool.name)
    if access.api_token is None:
        await deps.sources.leave(key)
        return None
    source_key = SourceKey(spec.gitlab.url, build_scope(spec), _digest(access.api_token), _digest(access.ca or ""))
    connect = deps.doors.connect
    source = await deps.sources.use(key, source_key, lambda: connect(spec.gitlab.url, access.api_token, access.ca))
    source.pools[key] = Interest(build_traits(spec), spec.gitlab.poll_seconds)
    return source


def build_traits(spec: RunnerPoolSpec) -> RunnerTraits:
    """Give what decides which jobs the pool's runner is given."""
    return RunnerTraits(
        scope=build_scope(spec),
        tags=frozenset(spec.runner.tags),
        run_untagged=spec.runner.run_untagged,
        protected=spec.runner.access_level is AccessLevel.REF_PROTECTED,
    )


def build_scope(spec: RunnerPoolSpec) -> Scope:
    """Give the scope of the pool's runner."""
    return Scope(ScopeType(spec.gitlab.scope.type.value), spec.gitlab.scope.path or "")


def get_webhook_secret(deps: PoolDeps, key: Key) -> str | None:
    """Give what webhooks of a pool prove themselves with; None for a pool that is not known or takes none."""
    known: Known | None = deps.runners.get(key)
    return known.access.webhook_secret if known is not None and known.access is not None else None


async def refresh_webhook_secret(deps: PoolDeps, key: Key) -> str | None:
    """Read the secret again, as one that does not fit may be that of yesterday; not more often than it is worth."""
    known: Known | None = deps.runners.get(key)
    raw = deps.pools.get(key)
    if known is None or known.access is None or raw is None or deps.now() - known.refreshed < REFRESH_PAUSE:
        return None
    deps.runners[key] = known = replace(known, refreshed=deps.now())
    pool = parse_runner_pool(raw)
    reference = pool.spec.gitlab.webhook_secret if pool.spec is not None else None
    try:
        secret = await _get_secret(deps, pool, reference, "spec.gitlab.webhookSecret")
    except BessemerError:
        return None
    if known.access is not None:
        deps.runners[key] = replace(known, access=replace(known.access, webhook_secret=secret))
    return secret


def doubt_runner(deps: PoolDeps, key: Key) -> None:
    """Have Secrets and token looked at in the next pass: something was refused, and a rotation would explain it."""
    known: Known | None = deps.runners.get(key)
    if known is not None and deps.now() - known.checked >= REFRESH_PAUSE:
        deps.runners[key] = replace(known, checked=_LONG_AGO, verified=None)


async def delete_manager(deps: PoolDeps, pool: RunnerPool, slot: int) -> None:
    """Have GitLab forget the manager of a slot; where it can't, the next pod of the slot takes the record over."""
    known: Known | None = deps.runners.get((pool.namespace, pool.name))
    if pool.spec is None or known is None or known.access is None:
        return
    gitlab = deps.doors.get(pool.spec.gitlab.url, known.access.api_token, known.access.ca)
    try:
        await gitlab.delete_manager(known.token, runner_system_id(pool.uid, slot))
    except BessemerError as error:
        _log.warning("%s/%s: manager of slot %d is left: %s", pool.namespace, pool.name, slot, error)


async def delete_runner(deps: PoolDeps, pool: RunnerPool) -> None:
    """Have GitLab forget the runner, if it is ours; raises what keeps that from being done."""
    spec = pool.spec
    if spec is None or spec.runner.managed is None:
        return
    # As it was known last, where it was: when a namespace is deleted, its Secrets go before its pools.
    known: Known | None = deps.runners.get((pool.namespace, pool.name))
    access = known.access if known is not None and known.access is not None else await get_access(deps, pool, spec)
    gitlab = deps.doors.get(spec.gitlab.url, access.api_token, access.ca)
    for runner_id in await gitlab.list_runners(build_scope(spec), pool.uid):
        await gitlab.delete_runner(runner_id)


async def _ensure_runner(deps: PoolDeps, pool: RunnerPool, spec: RunnerPoolSpec, known: Known | None) -> Known:
    now = deps.now()
    access = await get_access(deps, pool, spec)
    await use_source(deps, pool, spec, access)
    gitlab = deps.doors.get(spec.gitlab.url, access.api_token, access.ca)
    secret = await deps.kubernetes.get_object(SECRETS, pool.namespace, runner_secret_name(pool.name))
    if secret is not None and not _is_owned(secret, pool.uid):
        name = runner_secret_name(pool.name)
        raise Invalid("NameTaken", f"Secret {name} exists and belongs to something else")
    if spec.runner.managed is None:
        token = await _get_secret(deps, pool, spec.runner.token_secret, "spec.runner.tokenSecret") or ""
        identity = await _verify(gitlab, token, known, now)
        if identity is None:
            raise Invalid("TokenRefused", "GitLab refuses the token in spec.runner.tokenSecret")
        extra: dict[str, str] = {}
    else:
        registration, request_digest = await _ensure_managed(deps, pool, spec, gitlab, (secret, known))
        token, identity = registration.token, Identity(registration.id, registration.expires_at)
        extra = _build_record(registration, request_digest)
    await ensure_account(deps, pool, spec)
    slurm_host = await get_slurm_host(deps, pool, spec)
    data = build_secret_data(pool, spec, token, access.others, slurm_host) | extra
    version = await _apply_secret(deps, pool, secret, data)
    fact = RunnerFact(
        ready=True,
        reason="Registered",
        id=identity.id,
        expires_at=identity.expires_at,
        template=compute_template(pool, spec, deps.settings, version),
    )
    recent = known is not None and known.token == token and not _is_due(known, now)
    verified = known.verified if recent and known is not None else now
    return Known(fact, pool.generation, now, verified, token, access)


def _is_due(known: Known, now: datetime) -> bool:
    return known.verified is None or now - known.verified >= timedelta(seconds=VERIFY_SECONDS)


async def _verify(gitlab: GitLab, token: str, known: Known | None, now: datetime) -> Identity | None:
    """Ask GitLab whose token that is, unless it said so a short while ago."""
    if known is not None and known.fact.id is not None and known.token == token and not _is_due(known, now):
        return Identity(known.fact.id, known.fact.expires_at)
    return await gitlab.verify_runner(token)


async def _ensure_managed(
    deps: PoolDeps,
    pool: RunnerPool,
    spec: RunnerPoolSpec,
    gitlab: GitLab,
    before: tuple[Object | None, Known | None],
) -> tuple[Registration, str]:
    """Give the pool's own runner: created, brought in line with the spec, its token rotated in time."""
    secret, known = before
    request = _build_request(pool, spec)
    wanted = _digest(repr(request))
    recorded, digest = _parse_record(secret)
    if recorded is None:
        for leaked in await gitlab.list_runners(request.scope, pool.uid):
            await gitlab.delete_runner(leaked)
        return await gitlab.create_runner(request), wanted
    managed = spec.runner.managed
    early = timedelta(seconds=managed.rotate_before_seconds if managed else 0)
    expiring = recorded.expires_at is not None and recorded.expires_at - early <= deps.now()
    if expiring or await _verify(gitlab, recorded.token, known, deps.now()) is None:
        if recorded.id not in await gitlab.list_runners(request.scope, pool.uid):
            return await gitlab.create_runner(request), wanted  # somebody has deleted it
        recorded = await gitlab.rotate_runner(recorded.id)
    if digest != wanted:
        await gitlab.update_runner(recorded.id, request)
    return recorded, wanted


def _build_request(pool: RunnerPool, spec: RunnerPoolSpec) -> RunnerRequest:
    managed = spec.runner.managed
    description = managed.description if managed and managed.description else f"{pool.namespace}/{pool.name}"
    return RunnerRequest(
        scope=build_scope(spec),
        description=description,
        marker=pool.uid,
        tags=frozenset(spec.runner.tags),
        run_untagged=spec.runner.run_untagged,
        protected=spec.runner.access_level is AccessLevel.REF_PROTECTED,
        locked=managed.locked if managed else True,
        maximum_timeout=spec.runner.maximum_timeout_seconds,
    )


def _build_record(registration: Registration, request_digest: str) -> dict[str, str]:
    expires = registration.expires_at.isoformat() if registration.expires_at else ""
    return {
        "token": registration.token,
        "runner-id": str(registration.id),
        "expires-at": expires,
        "request-digest": request_digest,
    }


def _parse_record(secret: Mapping[str, Any] | None) -> tuple[Registration | None, str]:
    data = {key: _decode(value) for key, value in ((secret or {}).get("data") or {}).items()}
    if not data.get("token") or not data.get("runner-id"):
        return None, ""
    registration = Registration(int(data["runner-id"]), data["token"], parse_time(data.get("expires-at") or None))
    return registration, data.get("request-digest", "")


async def _apply_secret(deps: PoolDeps, pool: RunnerPool, secret: Object | None, data: dict[str, str]) -> str:
    """Write the pool's Secret if it differs; give its version."""
    body = build_runner_secret(pool, data)
    name = body["metadata"]["name"]
    if secret is None:
        try:
            written: Object | None = await deps.kubernetes.create_object(SECRETS, pool.namespace, body)
        except AlreadyExists as error:
            raise Retry("Conflict", f"Secret {name} has just been created") from error
    elif secret.get("data") == body["data"]:
        written = secret
    else:
        stale = dict.fromkeys(set(secret.get("data") or {}) - set(body["data"]))
        patch = {"data": {**stale, **body["data"]}}
        written = await deps.kubernetes.patch_object(SECRETS, pool.namespace, name, patch)
    if written is None:
        raise Retry("Vanished", f"Secret {name} has just been deleted")
    return str(written["metadata"]["resourceVersion"])


async def _get_secret(deps: PoolDeps, pool: RunnerPool, reference: SecretReference | None, field: str) -> str | None:
    """Read one key of a Secret of the user's."""
    if reference is None:
        return None
    secret = await deps.kubernetes.get_object(SECRETS, pool.namespace, reference.name)
    if secret is None:
        raise Retry("SecretMissing", f"Secret {reference.name} ({field}) does not exist")
    value = (secret.get("data") or {}).get(reference.key)
    if not value:
        raise Retry("SecretMissing", f"Secret {reference.name} ({field}) has no key {reference.key}")
    return _decode(value).strip()


def _decode(value: str) -> str:
    return base64.b64decode(value).decode("utf-8", "replace")


def _is_owned(raw: Mapping[str, Any], uid: str) -> bool:
    return any(owner["uid"] == uid for owner in raw["metadata"].get("ownerReferences") or ())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

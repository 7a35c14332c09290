"""A runner of ours in GitLab: created, brought in line with the spec, its token rotated in time, and deleted.

It is known by its marker, the pool's UID, which GitLab shows in its description, and by a record in the pool's Secret:
its number, its token and where it is. One that was never written down, as the operator died in between, is found by
the marker and deleted: nothing leaks, whenever it dies. What is created or rotated is written down by the very next
request, to a Secret that is there already: nothing but that request can come in between and fail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bessemer.errors import Invalid
from bessemer.gitlab.protocol import GitLab, GitLabNotFound, Identity, Registration, RunnerRequest, Scope, ScopeType
from bessemer.kube.client import Object
from bessemer.kube.events import EventFact
from bessemer.resource import parse_time
from bessemer.runnerpool.access import decode
from bessemer.runnerpool.deps import PoolDeps
from bessemer.runnerpool.poolsecret import apply_pool_secret
from bessemer.runnerpool.resource import RunnerPool
from bessemer.runnerpool.spec import AccessLevel, GitLabConnection, ManagedRunner, RunnerPoolSpec

Verify = Callable[[str], Awaitable[Identity | None]]
"""Asks GitLab whose token that is, or knows it from a short while ago."""


@dataclass(frozen=True)
class Record:
    """The runner as it was written down."""

    registration: Registration
    url: str
    """The GitLab it is in."""
    scope: str
    """Whose jobs it takes, as :class:`Scope` is written."""
    request_digest: str
    """Of the request that it was last brought in line with."""
    issued: datetime
    """When its token was given out."""

    def is_at(self, gitlab: GitLabConnection) -> bool:
        """Tell whether it is where the spec wants it."""
        return (self.url, self.scope) == (gitlab.url, str(build_scope(gitlab)))

    def to_data(self) -> dict[str, str]:
        """Give what stands in the Secret."""
        expires = self.registration.expires_at
        return {
            "token": self.registration.token,
            "runner-id": str(self.registration.id),
            "expires-at": expires.isoformat() if expires else "",
            "url": self.url,
            "scope": self.scope,
            "request-digest": self.request_digest,
            "issued-at": self.issued.isoformat(),
        }


def parse_record(secret: Object | None) -> Record | None:
    """Read the record in a pool's Secret; None where there is none."""
    data = _read_data(secret)
    if "runner-id" not in data:
        return None
    registration = Registration(int(data["runner-id"]), data["token"], parse_time(data["expires-at"] or None))
    issued = datetime.fromisoformat(data["issued-at"])
    return Record(registration, data["url"], data["scope"], data["request-digest"], issued)


def build_scope(gitlab: GitLabConnection) -> Scope:
    """Give the scope of a pool's runner."""
    return Scope(ScopeType(gitlab.scope.type.value), gitlab.scope.path or "")


@dataclass(frozen=True)
class RunnerKeeper:
    """The runner of one pool, and the door to the GitLab where it is to be."""

    deps: PoolDeps
    pool: RunnerPool
    gitlab: GitLab

    async def ensure(
        self, spec: RunnerPoolSpec, managed: ManagedRunner, secret: Object | None, verify: Verify
    ) -> tuple[Record, Object | None]:
        """See to it that it is there as the spec wants it; give its record, which is written down, and the Secret."""
        request = _build_request(self.pool, spec, managed)
        wanted = hashlib.sha256(repr(request).encode()).hexdigest()
        record = parse_record(secret)
        if record is not None and not record.is_at(spec.gitlab) and not await self._is_listed(record, request.scope):
            secret = await self.give_up(spec.gitlab, record, secret)
            record = None
        if record is None:
            for leaked in await self.gitlab.list_runners(request.scope, self.pool.uid):
                await self.gitlab.delete_runner(leaked)
            return await self._create(spec, request, wanted, secret)
        registration = record.registration
        due = _is_expiring(record, managed, self.deps.now()) or await verify(registration.token) is None
        if due and not await self._is_listed(record, request.scope):
            return await self._create(spec, request, wanted, secret)  # somebody has deleted it
        if record.request_digest != wanted:
            await self.gitlab.update_runner(registration.id, request)
        issued = record.issued
        if due:
            registration, issued = await self.gitlab.rotate_runner(registration.id), self.deps.now()
        record = Record(registration, spec.gitlab.url, str(request.scope), wanted, issued)
        return record, await self._write(record, secret)

    async def give_up(self, gitlab: GitLabConnection, record: Record, secret: Object | None) -> Object:
        """Delete the runner where it is; where that can't be done, say that it is left. Then it is forgotten."""
        try:
            await self._delete_recorded(gitlab, record)
        except Invalid as error:
            await self._say_left(record, error.message)
        rest = {key: value for key, value in _read_data(secret).items() if key not in record.to_data()}
        return await apply_pool_secret(self.deps, self.pool, secret, rest)

    async def delete(self, gitlab: GitLabConnection, record: Record | None) -> None:
        """Delete the runner, and any other that bears its marker; raises what keeps that from being done."""
        if record is not None:
            await self._delete_recorded(gitlab, record)
        try:
            leaked = await self.gitlab.list_runners(build_scope(gitlab), self.pool.uid)
        except GitLabNotFound:
            if record is None:
                raise
            leaked = []  # group or project is gone, and its runners with it
        for runner_id in leaked:
            await self.gitlab.delete_runner(runner_id)

    async def _create(
        self, spec: RunnerPoolSpec, request: RunnerRequest, wanted: str, secret: Object | None
    ) -> tuple[Record, Object | None]:
        if secret is None:  # what would refuse a Secret is to do so before there is a runner
            secret = await apply_pool_secret(self.deps, self.pool, None, {})
        registration = await self.gitlab.create_runner(request)
        record = Record(registration, spec.gitlab.url, str(request.scope), wanted, self.deps.now())
        return record, await self._write(record, secret)

    async def _write(self, record: Record, secret: Object | None) -> Object:
        """Write the record down, and leave the rest of the Secret as it is."""
        return await apply_pool_secret(self.deps, self.pool, secret, _read_data(secret) | record.to_data())

    async def _is_listed(self, record: Record, scope: Scope) -> bool:
        """Tell whether it is there; a group or project that was renamed still has its runners."""
        return record.registration.id in await self.gitlab.list_runners(scope, self.pool.uid)

    async def _delete_recorded(self, gitlab: GitLabConnection, record: Record) -> None:
        if record.url != gitlab.url:
            # Its token must not be shown to another GitLab than it is for.
            raise Invalid("RunnerLeft", f"the pool's access token is for {gitlab.url}")
        await self.gitlab.delete_runner(record.registration.id)

    async def _say_left(self, record: Record, why: str) -> None:
        text = f"Runner {record.registration.id} of {record.scope} is left in {record.url}: {why}"
        await self.deps.recorder.record(self.pool.reference(), EventFact("Warning", "RunnerLeft", text))


def _read_data(secret: Object | None) -> dict[str, str]:
    return {key: decode(value) for key, value in ((secret or {}).get("data") or {}).items()}


def _is_expiring(record: Record, managed: ManagedRunner, now: datetime) -> bool:
    """Tell whether the token is to be rotated: where tokens live shorter than that, at half of their life."""
    expires = record.registration.expires_at
    if expires is None:
        return False
    early = min(timedelta(seconds=managed.rotate_before_seconds), (expires - record.issued) / 2)
    return expires - early <= now


def _build_request(pool: RunnerPool, spec: RunnerPoolSpec, managed: ManagedRunner) -> RunnerRequest:
    return RunnerRequest(
        scope=build_scope(spec.gitlab),
        description=managed.description or f"{pool.namespace}/{pool.name}",
        marker=pool.uid,
        tags=frozenset(spec.runner.tags),
        run_untagged=spec.runner.run_untagged,
        protected=spec.runner.access_level is AccessLevel.REF_PROTECTED,
        locked=managed.locked,
        maximum_timeout=spec.runner.maximum_timeout_seconds,
    )

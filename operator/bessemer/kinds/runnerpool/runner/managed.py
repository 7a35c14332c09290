"""A runner of ours in GitLab: created, brought in line with the spec, its token rotated in time, and deleted.

It is known by its marker, the pool's UID, which GitLab shows in its description, and by a record in the pool's Secret:
its number, its token and where it is. One that was never written down, as the operator died in between, is found by
the marker and deleted: nothing leaks, whenever it dies. What is created or rotated is written down by the very next
request, to a Secret that is there already: nothing but that request can come in between and fail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import AccessLevel, GitLabConnection, ManagedRunner, RunnerPoolSpec
from bessemer.engine.event_facts import EventFact
from bessemer.errors import Invalid
from bessemer.foreign import Unreadable, parse_int, parse_time
from bessemer.gitlab.credentials import is_token
from bessemer.gitlab.protocol import GitLab, GitLabNotFound, Identity, Registration, RunnerRequest, Scope, ScopeType
from bessemer.kinds.runnerpool.deps import PoolDeps
from bessemer.kinds.runnerpool.runner.record_secret import apply_pool_secret
from bessemer.kube.protocol import Object
from bessemer.kube.secretdata import read_secret

FIRST_PAUSE = timedelta(hours=1)
"""After a token was replaced that GitLab refused, until it is replaced again; doubled each time. The first time is at
once."""
LONGEST_PAUSE = timedelta(days=1)
"""Also after which a token that GitLab takes is beyond doubt."""
_T = TypeVar("_T")
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
    refusals: int = 0
    """How often in a row its token was replaced because GitLab refused it."""

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
            "refusals": str(self.refusals),
        }


def parse_record(secret: Object | None) -> Record | None:
    """Read the record in a pool's Secret; None where there is none. Raises Invalid SecretBroken naming the key."""
    data = read_secret(secret, str((secret or {}).get("metadata", {}).get("name", "")))
    if "runner-id" not in data:
        return None

    def read(key: str, parse: Callable[[str], _T]) -> _T:
        try:
            return parse(data.require_text(key))
        except Unreadable as error:
            data.refuse(key, f"is {error}")

    ends = read("expires-at", parse_time) if data.get_text("expires-at") else None
    if not is_token(data.require_text("token")):
        data.refuse("token", "is no token")
    return Record(
        Registration(read("runner-id", partial(parse_int, least=1)), data.require_text("token"), ends),
        data.require_text("url"),
        data.require_text("scope"),
        data.require_text("request-digest"),
        read("issued-at", parse_time),
        read("refusals", parse_int) if data.get_text("refusals") else 0,
    )


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
        expiring = _is_expiring(record, managed, self.deps.now())
        refused = not expiring and await verify(record.registration.token) is None
        if (expiring or refused) and not await self._is_listed(record, request.scope):
            return await self._create(spec, request, wanted, secret)  # it was deleted in GitLab
        if refused:
            self._check_pause(record)
        elif record.refusals and self.deps.now() - record.issued >= LONGEST_PAUSE:
            record = replace(record, refusals=0)
        if record.request_digest != wanted:
            await self.gitlab.update_runner(record.registration.id, request)
        record = replace(record, url=spec.gitlab.url, scope=str(request.scope), request_digest=wanted)
        if not expiring and not refused:
            return record, await self._write(record, secret)
        record, secret = await self._rotate(record, secret, refused=refused)
        if refused and await verify(record.registration.token) is None:
            self._check_pause(record)
        return record, secret

    def _check_pause(self, record: Record) -> None:
        """Raise Invalid while a token that GitLab refuses may not be replaced again: it does not seem to help."""
        if record.refusals == 0:
            return
        due = record.issued + min(FIRST_PAUSE * 2 ** min(record.refusals - 1, 10), LONGEST_PAUSE)
        if self.deps.now() < due:
            text = f"GitLab refuses the token of runner {record.registration.id} that it gave out itself"
            times = "once" if record.refusals == 1 else f"{record.refusals} times"
            raise Invalid("TokenRefused", f"{text}; it was replaced {times}, and will be again at {_show(due)}")

    async def _rotate(self, record: Record, secret: Object | None, *, refused: bool) -> tuple[Record, Object]:
        """Have the token replaced, write the new one down, and say why in an event."""
        ends = record.registration.expires_at
        registration = await self.gitlab.rotate_runner(record.registration.id)
        refusals = record.refusals + refused
        record = replace(record, registration=registration, issued=self.deps.now(), refusals=refusals)
        written = await self._write(record, secret)
        why = "GitLab refused it" if refused or ends is None else f"it ends at {_show(ends)}"
        again = f" ({refusals} times in a row)" if refused and refusals > 1 else ""
        text = f"the token of runner {registration.id} was replaced, as {why}{again}"
        event = EventFact("Warning" if refused else "Normal", "TokenRotated", text)
        await self.deps.recorder.record(self.pool.reference(), event)
        return record, written

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


def _show(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")


def _read_data(secret: Object | None) -> dict[str, str]:
    """Return what stands in the pool's Secret; values that are no text are left out, and so are replaced."""
    data = read_secret(secret, "")
    found: dict[str, str] = {}
    for key in data.values:
        try:
            found[key] = data.get_text(key) or ""
        except Invalid:
            continue
    return found


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

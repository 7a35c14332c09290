"""Input of decisions about a pool's runner, and how each answer changes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bessemer.api.names import runner_secret_name
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import RunnerPoolSpec
from bessemer.engine.settings import Settings
from bessemer.errors import BessemerError, Invalid
from bessemer.gitlab.protocol import Identity, Registration, RunnerRequest
from bessemer.kinds.runnerpool.demand.interest import Polls
from bessemer.kinds.runnerpool.render.manifest import build_runner_secret
from bessemer.kinds.runnerpool.render.slurm_files import SlurmHost
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.known import Known
from bessemer.kinds.runnerpool.runner.plan import DeleteRunner
from bessemer.kinds.runnerpool.runner.record import PoolSecret, Record, parse_record
from bessemer.kinds.runnerpool.runner.request import digest_request


@dataclass(frozen=True)
class NamedObject:
    """An object with one of the pool's names."""

    owned: bool
    """Whether it belongs to the pool."""
    role: tuple[str, str] = ("", "")
    """Kind and name of the role that a RoleBinding binds."""


@dataclass(frozen=True)
class RunnerFacts:
    """All facts about a pool's runner at one point of a pass."""

    pool: RunnerPool
    spec: RunnerPoolSpec
    settings: Settings
    access: Access | None
    """None: the user's Secrets could not be read, for the reason in ``problem``."""
    known: Known | None = None
    """Results of earlier passes."""
    polls: Polls | None = None
    """The pool's current polls."""
    problem: BessemerError | None = None
    """Error of the first object that could not be read."""
    account: NamedObject | None = None
    """Read only for the executor Kubernetes, as is ``binding``; None: it does not exist."""
    binding: NamedObject | None = None
    slurm_host: SlurmHost | None = None
    secret: PoolSecret | None = None
    record: Record | None = None
    """The record in the Secret, with later changes in GitLab."""
    record_problem: Invalid | None = None
    """Error in the record in the Secret."""
    listed: frozenset[int] | None = None
    """Runners in GitLab with the pool's marker; None: not asked yet."""
    verified: Mapping[str, Identity | None] = field(default_factory=dict, repr=False)
    """Identities of tokens that GitLab has confirmed in this pass; None: it refuses the token."""
    issued: str = field(default="", repr=False)
    """Token that was issued in this pass."""
    undeletable: Mapping[int, Invalid] = field(default_factory=dict)
    """Runners that GitLab refused to delete in this pass, with the reason."""
    failure: BessemerError | None = None
    """Failure of the last question or step."""

    def holds(self, values: Mapping[str, str]) -> bool:
        """Return whether the pool's Secret has exactly these values."""
        return self.secret is not None and self.secret.data == self._encode(values)

    def take_secret(self, secret: PoolSecret | None) -> RunnerFacts:
        """Return the facts with the Secret as read."""
        facts = replace(self, secret=secret, record=None, record_problem=None)
        try:
            return replace(facts, record=parse_record(secret, runner_secret_name(self.pool.name)))
        except Invalid as error:
            return replace(facts, record_problem=error)

    def take_written(self, values: Mapping[str, str], version: str) -> RunnerFacts:
        """Return the facts with the values that we wrote to the Secret, even if another client changes them later."""
        return self.take_secret(PoolSecret(version, self._encode(values)))

    def take_created(self, registration: Registration, request: RunnerRequest, now: datetime) -> RunnerFacts:
        """Return the facts after a runner was created."""
        url, scope = self.spec.gitlab.url, str(request.scope)
        record = Record(registration, url, scope, digest_request(request), now)
        listed = (self.listed or frozenset()) | {registration.id}
        return replace(self._take_token(registration), record=record, listed=listed)

    def take_updated(self, request: RunnerRequest) -> RunnerFacts:
        """Return the facts after the runner's settings were changed."""
        record = self.require_record()
        return replace(self, record=replace(record, request_digest=digest_request(request)))

    def take_rotated(self, registration: Registration, *, refused: bool, now: datetime) -> RunnerFacts:
        """Return the facts after the token was replaced; if one was refused, GitLab must be asked about the new one."""
        record = self.require_record()
        refusals = record.refusals + refused
        record = replace(record, registration=registration, issued=now, refusals=refusals)
        facts = replace(self, issued=registration.token) if refused else self._take_token(registration)
        return replace(facts, record=record)

    def take_gone(self, runner_id: int) -> RunnerFacts:
        """Return the facts after a runner was deleted, or left in place."""
        record = None if self.record is not None and self.record.id == runner_id else self.record
        listed = self.listed - {runner_id} if self.listed is not None else None
        return replace(self, record=record, listed=listed)

    def take_failure(self, step: object, error: BessemerError) -> RunnerFacts:
        """Return the facts after a call failed; a runner that can't be deleted need not stop the rest."""
        if isinstance(step, DeleteRunner) and isinstance(error, Invalid):
            return replace(self, undeletable={**self.undeletable, step.runner_id: error})
        return replace(self, failure=error)

    def take_identity(self, token: str, identity: Identity | None) -> RunnerFacts:
        """Return the facts with GitLab's answer about a token."""
        return replace(self, verified={**self.verified, token: identity})

    def require_record(self) -> Record:
        """Return the record; called only by steps that require one."""
        if self.record is None:
            raise ValueError("no runner is recorded")
        return self.record

    def _take_token(self, registration: Registration) -> RunnerFacts:
        """Store a token that GitLab has just issued, which need not be verified."""
        identity = Identity(registration.id, registration.expires_at)
        return replace(self.take_identity(registration.token, identity), issued=registration.token)

    def _encode(self, values: Mapping[str, str]) -> Mapping[str, Any]:
        encoded: Mapping[str, Any] = build_runner_secret(self.pool, values)["data"]
        return encoded

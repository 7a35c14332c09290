"""What the life of a pool's runner is decided from, and how it changes with each answer. Pure."""

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
    """An object that has one of the pool's names."""

    owned: bool
    """Whether it is the pool's."""
    role: tuple[str, str] = ("", "")
    """Kind and name of what a RoleBinding binds."""


@dataclass(frozen=True)
class RunnerFacts:
    """All that is known of a pool's runner at one moment of a pass."""

    pool: RunnerPool
    spec: RunnerPoolSpec
    settings: Settings
    access: Access | None
    """None: the user's Secrets could not be read, and ``problem`` says why."""
    known: Known | None = None
    """What earlier passes have found out."""
    polls: Polls | None = None
    """The polls that the pool takes part in now."""
    problem: BessemerError | None = None
    """What was wrong with the first thing that could not be read."""
    account: NamedObject | None = None
    """Read for the executor Kubernetes alone, as is ``binding``; None: there is none."""
    binding: NamedObject | None = None
    slurm_host: SlurmHost | None = None
    secret: PoolSecret | None = None
    record: Record | None = None
    """As it stands in the Secret, but for what was changed in GitLab since."""
    record_problem: Invalid | None = None
    """What is wrong with the record in the Secret."""
    listed: frozenset[int] | None = None
    """The runners in GitLab that have the pool's marker; None: not asked yet."""
    verified: Mapping[str, Identity | None] = field(default_factory=dict, repr=False)
    """Whose tokens these are, as GitLab has said in this pass; None: it refuses the token."""
    issued: str = field(default="", repr=False)
    """The token that was issued in this pass."""
    undeletable: Mapping[int, Invalid] = field(default_factory=dict)
    """Runners that GitLab would not delete in this pass, and why."""
    failure: BessemerError | None = None
    """What the last question or step failed with."""

    def holds(self, values: Mapping[str, str]) -> bool:
        """Return whether the pool's Secret has just these values."""
        return self.secret is not None and self.secret.data == self._encode(values)

    def take_secret(self, secret: PoolSecret | None) -> RunnerFacts:
        """Return the facts with the Secret as it was read."""
        facts = replace(self, secret=secret, record=None, record_problem=None)
        try:
            return replace(facts, record=parse_record(secret, runner_secret_name(self.pool.name)))
        except Invalid as error:
            return replace(facts, record_problem=error)

    def take_written(self, values: Mapping[str, str], version: str) -> RunnerFacts:
        """Return the facts after the Secret was written: with what we wrote, whatever others make of it."""
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
        """Return the facts after the token was replaced: where one was refused, whether this one is must be asked."""
        record = self.require_record()
        refusals = record.refusals + refused
        record = replace(record, registration=registration, issued=now, refusals=refusals)
        facts = replace(self, issued=registration.token) if refused else self._take_token(registration)
        return replace(facts, record=record)

    def take_gone(self, runner_id: int) -> RunnerFacts:
        """Return the facts after a runner was deleted, or left where it is."""
        record = None if self.record is not None and self.record.id == runner_id else self.record
        listed = self.listed - {runner_id} if self.listed is not None else None
        return replace(self, record=record, listed=listed)

    def take_failure(self, step: object, error: BessemerError) -> RunnerFacts:
        """Return the facts after a call failed: that a runner can't be deleted need not stop all else."""
        if isinstance(step, DeleteRunner) and isinstance(error, Invalid):
            return replace(self, undeletable={**self.undeletable, step.runner_id: error})
        return replace(self, failure=error)

    def take_identity(self, token: str, identity: Identity | None) -> RunnerFacts:
        """Return the facts after GitLab has said whose token that is."""
        return replace(self, verified={**self.verified, token: identity})

    def require_record(self) -> Record:
        """Return the record, which only steps ask for that are decided because there is one."""
        if self.record is None:
            raise ValueError("no runner is recorded")
        return self.record

    def _take_token(self, registration: Registration) -> RunnerFacts:
        """Note a token that GitLab has just issued, which it need not be asked about."""
        identity = Identity(registration.id, registration.expires_at)
        return replace(self.take_identity(registration.token, identity), issued=registration.token)

    def _encode(self, values: Mapping[str, str]) -> Mapping[str, Any]:
        encoded: Mapping[str, Any] = build_runner_secret(self.pool, values)["data"]
        return encoded

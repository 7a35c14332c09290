"""Decides the end of a deleted pool: a pure function from facts and the time to one question, one step, or a wait.

GitLab deletes the runner if it was created for the pool, otherwise its runner managers; then the engine may
remove the finalizer. After the deletion deadline it may even if GitLab could not be reached.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import GitLabConnection
from bessemer.engine.deadline import compute_patience
from bessemer.engine.event_facts import EventFact
from bessemer.engine.secrets import SecretMissing
from bessemer.errors import BessemerError, Invalid
from bessemer.gitlab.protocol import GitLabNotFound
from bessemer.kinds.runnerpool.demand.interest import compute_asked
from bessemer.kinds.runnerpool.facts import RETRY_SECONDS
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.decide import explain_undeletable
from bessemer.kinds.runnerpool.runner.known import Known
from bessemer.kinds.runnerpool.runner.plan import DeleteRunner, ListRunners, Plan
from bessemer.kinds.runnerpool.runner.record import Record
from bessemer.kinds.runnerpool.runner.request import build_scope
from bessemer.kinds.runnerpool.runner.runner_managers import ManagerFacts, decide_managers

LEAVING = "the pool is kept until GitLab has forgotten its runner"


@dataclass(frozen=True)
class EndFacts:
    """All facts about the runner of a deleted pool without pods."""

    pool: RunnerPool
    deletion_seconds: int
    """How long the pool waits for GitLab."""
    pause: float
    """Remaining seconds of a pause that GitLab has requested."""
    known: Known | None = None
    secret_gone: bool | None = None
    """Whether the pool's Secret is missing; None: it could not be read."""
    record: Record | None = None
    connection: GitLabConnection | None = None
    """None: missing in the spec, for the reason in ``problem``."""
    access: Access | None = field(default=None, repr=False)
    """Values for GitLab's API from the Secrets, as last known."""
    problem: BessemerError | None = None
    """Error of the first required object that could not be read."""
    managers: ManagerFacts | None = None
    """Read if no runner was created for the pool."""
    deleted: bool = False
    """Whether this pass has deleted the recorded runner."""
    listed: frozenset[int] | None = None
    """Runners in GitLab with the pool's marker; None: not asked yet."""
    failure: BessemerError | None = None
    """Failure of the last question or step."""

    @property
    def creates_runner(self) -> bool:
        """Whether a runner was, or may have been, created for the pool."""
        return self.record is not None or (self.pool.spec is not None and self.pool.spec.runner.managed is not None)

    def compute_patience(self, now: datetime) -> float:
        """Return for how many seconds the pool still waits for GitLab."""
        return compute_patience(self.pool.deleted or now, self.deletion_seconds, now)

    def take_gone(self, runner_id: int) -> EndFacts:
        """Return the facts after a runner was deleted."""
        deleted = self.deleted or (self.record is not None and self.record.id == runner_id)
        return replace(self, deleted=deleted, listed=self.listed - {runner_id} if self.listed is not None else None)

    def take_manager(self, slot: int) -> EndFacts:
        """Return the facts after a runner manager was deleted, or left to its slot's pod."""
        managers = self.managers
        return self if managers is None else replace(self, managers=replace(managers, slots=managers.slots - {slot}))


def decide_end(facts: EndFacts, now: datetime) -> Plan:
    """Return the next step, the time to wait, or the end."""
    patience = facts.compute_patience(now)
    if facts.failure is None and facts.pause > 0 and patience > 0:
        return Plan(None, "PauseAsked", "GitLab has asked for a pause", wait=min(facts.pause, patience))
    try:
        plan = _choose(facts)
    except BessemerError as error:
        if _was_never_created(facts, error):
            return Plan(None, "NothingCreated", f"no runner was created: {error.message}", ended=True)
        return _wait(facts, error, patience)
    return plan or Plan(None, "Deleted", "nothing of the pool is left in GitLab", ended=True)


def _choose(facts: EndFacts) -> Plan | None:
    failure = facts.failure
    if not facts.creates_runner:
        if isinstance(failure, Invalid) and facts.managers is not None:
            # The token is no longer valid: its runner is deleted, or can't be managed any more.
            return Plan(None, "ManagersLeft", f"runner managers are left: {failure.message}", ended=True)
        if failure is not None:
            raise failure
        return next(iter(decide_managers(facts.managers)), None) if facts.managers is not None else None
    if failure is not None and not _went_with_scope(facts, failure):
        raise failure
    if facts.problem is not None:
        raise facts.problem
    if facts.connection is None:
        raise ValueError("what is wrong with the spec is not said")
    record, scope = facts.record, build_scope(facts.connection)
    if record is not None and not facts.deleted:
        left = explain_undeletable(record, facts.connection.url)
        if left is not None:
            raise left
        return Plan(DeleteRunner(record.id), "Deleted", f"runner {record.id} of {record.scope}")
    if failure is not None:
        return None
    if facts.listed is None:
        return Plan(ListRunners(scope), "Deleted", f"runners of {scope} that were created for this pool")
    text = f"of {scope}, which was created for this pool and never recorded"
    return next((Plan(DeleteRunner(id_), "Deleted", f"runner {id_} {text}") for id_ in sorted(facts.listed)), None)


def _went_with_scope(facts: EndFacts, failure: BessemerError) -> bool:
    """Return whether the group or project was deleted after the recorded runner, and with it the pool's runners."""
    return isinstance(failure, GitLabNotFound) and facts.deleted and facts.listed is None


def _was_never_created(facts: EndFacts, error: BessemerError) -> bool:
    """Return whether no runner was ever created, so that there is nothing to wait for.

    That is so if no runner is recorded and the token may not even list runners. It is also so if the Secret is missing
    although we would have seen it: the Secret is created before the runner, and is deleted before the pool only
    together with the namespace.
    """
    if facts.record is not None or not facts.creates_runner or facts.secret_gone is None:
        return False
    never = facts.secret_gone and facts.known is not None and facts.pool.status.runner.id is None
    return never or isinstance(error, (Invalid, SecretMissing))


def _wait(facts: EndFacts, error: BessemerError, patience: float) -> Plan:
    if patience <= 0:
        text = f"GitLab keeps what it has of runner {facts.pool.status.runner.id}: {error.message}"
        return Plan(None, "RunnerLeft", text, EventFact("Warning", "RunnerLeft", text), ended=True)
    event = EventFact("Warning", error.reason, f"{LEAVING}: {error.message}")
    wait = min(max(RETRY_SECONDS, compute_asked(error)), patience)
    return Plan(None, error.reason, event.message, event, failure=error, wait=wait)

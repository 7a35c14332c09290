"""Decides what a pool's runner needs: a pure function from facts and the time to one question, one step, or an outcome.

A created runner is identified by its marker, the pool's UID, which is in its description in GitLab, and by a record in
the pool's Secret. A runner without a record, because the operator died in between, is found by the marker and deleted:
no runner is leaked, whenever the operator dies.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from bessemer.api.names import runner_account_name, runner_secret_name
from bessemer.api.reasons import INVALID_SPEC, NAME_TAKEN
from bessemer.api.runnerpool.executors import ExecutorType
from bessemer.api.runnerpool.resource import RunnerPool
from bessemer.api.runnerpool.spec import ManagedRunner
from bessemer.engine.event_facts import EventFact
from bessemer.errors import BessemerError, Invalid
from bessemer.gitlab.protocol import Identity, RunnerRequest
from bessemer.kinds.runnerpool.demand.interest import Polls
from bessemer.kinds.runnerpool.facts import RunnerFact
from bessemer.kinds.runnerpool.render.config import build_secret_data
from bessemer.kinds.runnerpool.render.manifest import build_role_binding, compute_template
from bessemer.kinds.runnerpool.runner.access import Access
from bessemer.kinds.runnerpool.runner.facts import NamedObject, RunnerFacts
from bessemer.kinds.runnerpool.runner.plan import (
    CreateRoleBinding,
    CreateRunner,
    CreateServiceAccount,
    DeleteRunner,
    LeaveRunner,
    ListRunners,
    Plan,
    RotateToken,
    Settled,
    StartPolls,
    StopPolls,
    UpdateRunner,
    VerifyToken,
    WriteRunnerSecret,
)
from bessemer.kinds.runnerpool.runner.record import LONGEST_PAUSE, RECORD_KEYS, Record
from bessemer.kinds.runnerpool.runner.request import build_polls, build_request, describe_request, digest_request

REGISTERED = "Registered"
REFUSED, EXPIRES = "TokenRefused", "TokenExpires"


@dataclass(frozen=True)
class _Usable:
    """A runner whose token GitLab accepts."""

    token: str = field(repr=False)
    identity: Identity
    record: Record | None = None


def decide_runner(facts: RunnerFacts, now: datetime) -> Plan:
    """Return the next question or step; without one, the state of the runner."""
    try:
        return _choose(facts, now)
    except BessemerError as error:
        return Plan(None, error.reason, error.message, failure=error)


def decide_unused(pool: RunnerPool, polls: Polls | None) -> Plan:
    """Decide for a pool that is deleted or has an unreadable spec: its runner stays unchanged for now."""
    reason = "Deleting" if pool.deleted is not None else INVALID_SPEC
    return Plan(StopPolls() if polls is not None else None, reason, "which jobs wait is not asked any more")


def _choose(facts: RunnerFacts, now: datetime) -> Plan:
    if facts.failure is not None:
        raise facts.failure
    if facts.access is None:
        raise facts.problem or ValueError("what is wrong with the Secrets is not said")
    plan = _decide_polls(facts, facts.access)
    if plan is not None:
        return plan
    # All possible obstacles first: a runner that can't be used must not be created, nor its token rotated in vain.
    facts.access.require()
    if facts.problem is not None:
        raise facts.problem
    plan = _decide_account(facts)
    if plan is not None:
        return plan
    managed = facts.spec.runner.managed
    found = _decide_created(facts, managed, now) if managed is not None else _decide_given(facts, facts.access, now)
    return found if isinstance(found, Plan) else _decide_secret(facts, facts.access, found)


def _decide_polls(facts: RunnerFacts, access: Access) -> Plan | None:
    """Poll with the current values of the Secrets, and never with earlier ones."""
    wanted = build_polls(facts.spec, access)
    if wanted == facts.polls:
        return None
    if wanted is None:
        return Plan(StopPolls(), "NoAccessToken", "which jobs wait is not asked any more")
    text = f"jobs of {wanted.source.scope}, every {wanted.interest.poll_seconds} s"
    return Plan(StartPolls(wanted), "Missing" if facts.polls is None else "Outdated", text)


def _decide_account(facts: RunnerFacts) -> Plan | None:
    """Ensure that runners which create pods for jobs have an account with exactly the rights for that.

    The rights are in a role of the chart; the operator may bind only that role, so that a pool can't be used to gain
    more. Source: https://docs.gitlab.com/runner/executors/kubernetes/#configure-runner-api-permissions
    """
    if facts.spec.executor.type is not ExecutorType.KUBERNETES:
        return None
    name = runner_account_name(facts.pool.name)
    wanted = build_role_binding(facts.pool, facts.settings)["roleRef"]
    role = f"{wanted['kind']} {wanted['name']}"
    if facts.account is None:
        return Plan(CreateServiceAccount(), "Missing", f"ServiceAccount {name}, with which runners create pods of jobs")
    _check_owner(facts.account, f"ServiceAccount {name}")
    if facts.binding is None:
        return Plan(CreateRoleBinding(), "Missing", f"RoleBinding {name} to {role}")
    _check_owner(facts.binding, f"RoleBinding {name}")
    if facts.binding.role != (wanted["kind"], wanted["name"]):
        # The role of a binding can't be changed, and the operator may not delete bindings.
        text = f"RoleBinding {name} binds {' '.join(facts.binding.role)}, of another installation of Bessemer"
        raise Invalid("RoleOutdated", f"{text}; delete it, and it is recreated for {role}")
    return None


def _check_owner(found: NamedObject, what: str) -> None:
    if not found.owned:
        raise Invalid(NAME_TAKEN, f"{what} exists and belongs to something else")


def _decide_given(facts: RunnerFacts, access: Access, now: datetime) -> Plan | _Usable:
    """Use the runner whose token the user gives; delete a runner that was created for the pool before."""
    token = access.runner_token or ""
    identity = _find_identity(facts, token, now)
    if isinstance(identity, Plan):
        return identity
    if identity is None:
        raise Invalid("TokenRefused", "GitLab refuses the token in spec.runner.tokenSecret")
    if facts.record_problem is not None:
        raise facts.record_problem
    if facts.record is not None:
        return _give_up(facts, facts.record, "TokenGiven")
    return _Usable(token, identity)


def _decide_created(facts: RunnerFacts, managed: ManagedRunner, now: datetime) -> Plan | _Usable:
    """Ensure that the runner is in GitLab as the spec wants it, with a token that GitLab accepts."""
    if facts.record_problem is not None:
        raise facts.record_problem
    request, record = build_request(facts.pool, facts.spec, managed), facts.record
    if record is None:
        return _decide_missing(facts, request)
    plan = _decide_place(facts, record, request)
    if plan is not None:
        return plan
    why = _doubt_token(facts, record, managed, now)
    if isinstance(why, Plan):
        return why
    plan = _decide_changes(facts, record, request, why, now)
    if plan is not None:
        return plan
    refusals = 0 if now - record.issued >= LONGEST_PAUSE else record.refusals
    record = replace(record, url=facts.spec.gitlab.url, scope=str(request.scope), refusals=refusals)
    return _Usable(record.token, Identity(record.id, record.registration.expires_at), record)


def _decide_place(facts: RunnerFacts, record: Record, request: RunnerRequest) -> Plan | None:
    """Delete a runner in another GitLab or scope; a renamed group or project still has its runners."""
    if record.is_at(facts.spec.gitlab):
        return None
    if facts.listed is None:
        return _list(request, "ScopeChanged")
    return _give_up(facts, record, "ScopeChanged") if record.id not in facts.listed else None


def _doubt_token(facts: RunnerFacts, record: Record, managed: ManagedRunner, now: datetime) -> str | Plan:
    """Return why the token must be replaced, empty if it need not be; or the question, if that is unknown."""
    if facts.issued != record.token and record.is_expiring(managed, now):
        return EXPIRES
    identity = _find_identity(facts, record.token, now)
    if isinstance(identity, Plan):
        return identity
    return REFUSED if identity is None else ""


def _decide_changes(facts: RunnerFacts, record: Record, request: RunnerRequest, why: str, now: datetime) -> Plan | None:
    """Bring the runner in line with the spec, then rotate its token if necessary; recreate a deleted runner."""
    if why:
        if facts.listed is None:
            return _list(request, why)
        if record.id not in facts.listed:
            return _create(request, "DeletedInGitLab")
    if why == REFUSED:
        _check_pause(record, now)
    if record.request_digest != digest_request(request):
        text = f"runner {record.id}: {describe_request(request)}"
        return Plan(UpdateRunner(record.id, request), "Outdated", text, EventFact("Normal", "RunnerUpdated", text))
    return _rotate(record, why) if why else None


def _decide_missing(facts: RunnerFacts, request: RunnerRequest) -> Plan:
    """Create a runner, after removing obstacles to writing its record and runners without a record."""
    name = runner_secret_name(facts.pool.name)
    if facts.secret is not None and facts.secret.has_record:
        rest = {key: value for key, value in facts.secret.get_values().items() if key not in RECORD_KEYS}
        return Plan(WriteRunnerSecret(rest), "RunnerGivenUp", f"Secret {name} without the record of a runner")
    if facts.listed is None:
        return _list(request, "NotRecorded")
    for runner_id in sorted(facts.listed):
        if runner_id in facts.undeletable:
            raise facts.undeletable[runner_id]
        text = f"runner {runner_id} of {request.scope}, which was created for this pool and never recorded"
        return Plan(DeleteRunner(runner_id), "NotRecorded", text, EventFact("Normal", "RunnerDeleted", text))
    if facts.secret is None:
        return Plan(WriteRunnerSecret({}), "Missing", f"Secret {name}, which must be there before its runner")
    return _create(request, "Missing")


def _create(request: RunnerRequest, why: str) -> Plan:
    text = f"runner of {request.scope}: {describe_request(request)}"
    deleted = "; its last one was deleted in GitLab" if why == "DeletedInGitLab" else ""
    return Plan(CreateRunner(request), why, text, EventFact("Normal", "RunnerCreated", f"{text}{deleted}"))


def _rotate(record: Record, why: str) -> Plan:
    ends, refused = record.registration.expires_at, why == REFUSED
    refusals = record.refusals + refused
    cause = "GitLab refused it" if refused or ends is None else f"it ends at {_show(ends)}"
    again = f" ({refusals} times in a row)" if refused and refusals > 1 else ""
    text = f"the token of runner {record.id} was replaced, as {cause}{again}"
    event = EventFact("Warning" if refused else "Normal", "TokenRotated", text)
    return Plan(RotateToken(record.id, refused), why, text, event)


def _give_up(facts: RunnerFacts, record: Record, why: str) -> Plan:
    """Delete the runner where it is; if that is impossible, report that it is left."""
    left = explain_undeletable(record, facts.spec.gitlab.url) or facts.undeletable.get(record.id)
    what = f"runner {record.id} of {record.scope}"
    if left is None:
        event = EventFact("Normal", "RunnerDeleted", f"{what}: the pool does not use it any more")
        return Plan(DeleteRunner(record.id), why, event.message, event)
    event = EventFact("Warning", "RunnerLeft", f"{what[0].upper()}{what[1:]} is left in {record.url}: {left.message}")
    return Plan(LeaveRunner(record.id), why, event.message, event)


def explain_undeletable(record: Record, url: str) -> Invalid | None:
    """Return why a pool whose access token is for the GitLab at ``url`` can't delete a runner; None: it can."""
    if record.url == url:
        return None
    # The token must not be sent to a GitLab that it was not issued for.
    return Invalid("RunnerLeft", f"the pool's access token is for {url}")


def _check_pause(record: Record, now: datetime) -> None:
    """Raise Invalid while a refused token may not be replaced again, because replacing it does not seem to help."""
    due = record.compute_rotation()
    if record.refusals > 0 and now < due:
        text = f"GitLab refuses the token of runner {record.id} that it gave out itself"
        times = "once" if record.refusals == 1 else f"{record.refusals} times"
        raise Invalid("TokenRefused", f"{text}; it was replaced {times}, and will be again at {_show(due)}")


def _find_identity(facts: RunnerFacts, token: str, now: datetime) -> Identity | Plan | None:
    """Return the token's identity, None if GitLab refuses it, or the question if that is unknown."""
    if token in facts.verified:
        return facts.verified[token]
    known = facts.known.find_identity(facts.spec.gitlab.url, token, now) if facts.known is not None else None
    return known or Plan(VerifyToken(token), "NotVerified", "whether GitLab takes the runner's token")


def _list(request: RunnerRequest, why: str) -> Plan:
    return Plan(ListRunners(request.scope), why, f"runners of {request.scope} that were created for this pool")


def _decide_secret(facts: RunnerFacts, access: Access, usable: _Usable) -> Plan:
    """Ensure that the pool's Secret contains the files that runner pods mount, and the record."""
    pool, spec, record = facts.pool, facts.spec, usable.record
    values = build_secret_data(pool, spec, usable.token, access.others, facts.slurm_host)
    values |= record.to_data() if record is not None else {}
    if facts.secret is None or not facts.holds(values):
        text = f"Secret {runner_secret_name(pool.name)}: what runner pods mount"
        text += ", and the runner's record" if record is not None else ""
        return Plan(WriteRunnerSecret(values), "Missing" if facts.secret is None else "Outdated", text)
    fact = RunnerFact(
        ready=True,
        reason=REGISTERED,
        id=usable.identity.id,
        expires_at=usable.identity.expires_at,
        template=compute_template(pool, spec, facts.settings, facts.secret.version),
    )
    return Plan(None, REGISTERED, f"runner {fact.id}", settled=Settled(fact, usable.token))


def _show(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")

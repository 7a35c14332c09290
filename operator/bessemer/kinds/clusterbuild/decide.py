"""Decides the next step of a build: a pure function from facts and the time to a plan with its reasons.

The phases are checked in order; the first one that is not done is the current phase. It is started, waited for, stopped
or given up. Deletion and abort differ only in the phase that they want: Cleanup alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.clusterbuild.status import PhaseState, PhaseStatus
from bessemer.api.phase_contract import PHASE_ORDER, PhaseName
from bessemer.api.reasons import CLEANUP_ABANDONED, INVALID_SPEC, NAMESPACE_TERMINATING, SECRET_MISSING
from bessemer.engine.deadline import compute_patience
from bessemer.engine.refusals import Refusal
from bessemer.kinds.clusterbuild.checkout import PHASES as PLAYBOOK_PHASES
from bessemer.kinds.clusterbuild.facts import Facts, compute_missing, power_off_wanted
from bessemer.kinds.clusterbuild.ledger import (
    Ledger,
    back_off_seconds,
    compute_ledger,
    find_current,
    is_done,
    is_exhausted,
    persistent_entries_wanted,
    repeat_lost_boots,
    skip,
    skip_unwanted,
    wanted_digest,
)
from bessemer.kinds.clusterbuild.plan import (
    FINAL_OUTLOOKS,
    Afterwork,
    ClaimMachines,
    CreateSecret,
    DeletePod,
    ForgetPod,
    Move,
    Outlook,
    Plan,
    ReleaseMachines,
    StartAttempt,
    StopPod,
)
from bessemer.kinds.clusterbuild.possession import compute_surplus, is_untouched, keep_machines
from bessemer.kinds.clusterbuild.status import compute_events, compute_status
from bessemer.kube.pods import SETTLED, WAITING, PodFact

POLL_SECONDS = 5.0
"""Interval for checking things without Kubernetes events: quota, machines of other builds, the user's Secret."""
PODS_KEPT = 3
"""Finished pods of each phase that are kept for their logs."""


def decide(facts: Facts, now: datetime) -> Plan:
    """Return the next step and the new status."""
    ledger, move = _decide_move(facts, compute_ledger(facts, now), now)
    move = keep_machines(facts, ledger, move)
    status = compute_status(facts, ledger, move, now)
    afterwork = _decide_afterwork(facts, ledger, move)
    events = tuple(compute_events(facts.build.status, status, ledger.settled))
    return Plan(status, move, afterwork, _compute_wake(facts, ledger, move), ledger.settled, events)


def _decide_move(facts: Facts, ledger: Ledger, now: datetime) -> tuple[Ledger, Move]:
    """Return the ledger with the phases that are skipped or due again, and the next step."""
    spec = facts.build.spec
    if facts.build.deleted is not None:
        return _decide_deletion(facts, ledger, facts.build.deleted, now)
    if spec is None:
        return ledger, Move(Outlook.FAILED, INVALID_SPEC, facts.build.spec_error)
    return _decide_build(facts, ledger, spec, now)


def _decide_build(facts: Facts, ledger: Ledger, spec: ClusterBuildSpec, now: datetime) -> tuple[Ledger, Move]:
    """Return the next step of the first phase that is not done; settle if no phase is left, or none may run."""
    ledger = skip_unwanted(ledger, facts, spec)
    current = find_current(ledger, facts, spec)
    if current is None:
        return _decide_end(facts, ledger, now, Move(Outlook.READY, "Ready", "the cluster is verified"))
    if facts.abort_wanted:
        return _decide_end(facts, ledger, now, Move(Outlook.ABORTED, "Aborted", "by the annotation bessemer.dev/abort"))
    phase = ledger.phases[current]
    if is_exhausted(phase, wanted_digest(current, ledger, facts, spec), spec.retries):
        return _decide_end(facts, ledger, now, _give_up(facts, phase))
    ledger = repeat_lost_boots(ledger, spec)
    return ledger, _decide_phase(facts, ledger, find_current(ledger, facts, spec) or current, now)


def _give_up(facts: Facts, phase: PhaseStatus) -> Move:
    """Settle as failed; but if the user's login key can't be used, keep checking it: Preflight runs again then."""
    message = f"{phase.name}: {phase.message or phase.reason}"
    if phase.name != PhaseName.PREFLIGHT or facts.key_problem is None:
        return Move(Outlook.FAILED, phase.reason or "Failed", message)
    # Preflight reports a missing key if nothing else is wrong.
    outlook = Outlook.WAITING if phase.reason == SECRET_MISSING else Outlook.FAILED
    return Move(outlook, phase.reason or "Failed", message, phase=phase.name, wake_after=POLL_SECONDS)


def _decide_end(facts: Facts, ledger: Ledger, now: datetime, rest: Move) -> tuple[Ledger, Move]:
    """Run Cleanup if anything may be staged, then settle. A failure of Cleanup never hides why the build ended."""
    spec = facts.build.spec
    running = ledger.running()
    if running is not None and running.name != PhaseName.CLEANUP:
        return ledger, _stop(facts, running, rest.reason)
    if spec is None:
        return ledger, rest
    digest = wanted_digest(PhaseName.CLEANUP, ledger, facts, spec)
    cleanup = ledger.phases[PhaseName.CLEANUP]
    if is_done(cleanup, digest) or is_exhausted(cleanup, digest, spec.retries):
        return ledger, rest
    if running is None and is_untouched(ledger):
        return skip(ledger, PhaseName.CLEANUP, digest, "nothing was staged"), rest
    return ledger, _decide_phase(facts, ledger, PhaseName.CLEANUP, now)


def _decide_deletion(facts: Facts, ledger: Ledger, deleted: datetime, now: datetime) -> tuple[Ledger, Move]:
    """Take back what was staged, within the deadline; after it, the build is finalized in any case."""
    gone = Move(Outlook.DELETING, "Deleted", "what the build staged is taken back", finalize=True)
    hindrance = _find_hindrance(facts, deleted, now)
    if hindrance:
        return ledger, Move(Outlook.DELETING, CLEANUP_ABANDONED, hindrance, finalize=True)
    ledger, move = _decide_end(facts, ledger, now, gone)
    cleanup = ledger.phases[PhaseName.CLEANUP]
    if move.finalize and cleanup.state == PhaseState.FAILED:
        move = Move(Outlook.DELETING, CLEANUP_ABANDONED, f"Cleanup failed: {cleanup.message}", finalize=True)
    return ledger, move


def _find_hindrance(facts: Facts, deleted: datetime, now: datetime) -> str:
    """Return why waiting for Cleanup is useless; empty while it may still succeed."""
    if compute_patience(deleted, facts.deletion_seconds, now) <= 0:
        return f"not done within {facts.deletion_seconds} s"
    if facts.refusal is not None and facts.refusal.reason == NAMESPACE_TERMINATING:
        return facts.refusal.message
    if facts.build.spec is None:
        return f"the spec can't be read: {facts.build.spec_error}"
    if facts.claims.conflict:
        return f"the machines belong to another build by now: {facts.claims.conflict}"
    return ""


def _decide_phase(facts: Facts, ledger: Ledger, name: PhaseName, now: datetime) -> Move:
    """Return the next step of one phase: stop another running phase, wait for its pod, or start its next attempt."""
    spec = facts.build.spec
    assert spec is not None  # noqa: S101  no phase is wanted without a spec
    digest = wanted_digest(name, ledger, facts, spec)
    running = ledger.running()
    if running is not None:
        unwanted = running.name != name or running.input_digest != digest
        if unwanted and (running.name != PhaseName.CLEANUP or facts.build.deleted is not None):
            return _stop(facts, running, "Superseded")
        return _wait_for_pod(facts, running)
    phase = ledger.phases[name]
    if facts.paused and facts.build.deleted is None:
        return Move(Outlook.PAUSED, "Paused", f"{name} starts when the annotation is gone", phase=name)
    due = _retry_due(phase, digest, spec)
    if due is not None and due > now:
        seconds = (due - now).total_seconds()
        message = f"{name} failed ({phase.reason}) and is tried again at {due:%H:%M:%S} UTC"
        return Move(Outlook.WAITING, "BackingOff", message, phase=name, wake_after=seconds)
    return _start(facts, ledger, name, digest)


def _start(facts: Facts, ledger: Ledger, name: PhaseName, digest: str) -> Move:
    """Start the next attempt once everything that it needs is available."""
    spec = facts.build.spec
    assert spec is not None  # noqa: S101  no phase is started without a spec
    missing = compute_missing(facts)
    broken = _find_broken_secret(facts, name)
    if broken is not None:
        return broken
    if not facts.secret.exists and facts.refusal is None:
        return Move(Outlook.WORKING, name.value, "making the build's keys", CreateSecret(), phase=name)
    if missing and facts.refusal is None:
        if facts.claims.conflict:
            message = facts.claims.conflict
            return Move(Outlook.WAITING, "WaitingForMachines", message, phase=name, wake_after=POLL_SECONDS)
        return Move(Outlook.WORKING, name.value, "claiming the machines", ClaimMachines(missing), phase=name)
    if facts.refusal is not None:
        return _explain_refusal(name, facts.refusal)
    attempt = ledger.phases[name].attempt + 1
    start = StartAttempt(name, attempt, digest)
    if name == PhaseName.CLEANUP:
        keep = persistent_entries_wanted(ledger, facts, spec)
        start = StartAttempt(name, attempt, digest, power_off=power_off_wanted(facts), keep_persistent=keep)
    return Move(Outlook.WORKING, name.value, f"attempt {attempt}", start, phase=name)


def _explain_refusal(name: PhaseName, refusal: Refusal) -> Move:
    if refusal.reason == INVALID_SPEC:
        return Move(Outlook.FAILED, refusal.reason, refusal.message)
    message = f"{name}: {refusal.message}"
    return Move(Outlook.WAITING, refusal.reason, message, phase=name, wake_after=POLL_SECONDS)


def _find_broken_secret(facts: Facts, name: PhaseName) -> Move | None:
    """Return what a phase that logs in must wait for; Cleanup is tried in any case, because a deletion waits for it."""
    if name == PhaseName.CLEANUP:
        return None
    problem = facts.key_problem if name != PhaseName.PREFLIGHT else None
    if problem is None and name in PLAYBOOK_PHASES:
        problem = facts.login_problem
    if problem is None:
        problem = facts.secret.problem
    if problem is None:
        return None
    return Move(Outlook.WAITING, problem.reason, problem.message, phase=name, wake_after=POLL_SECONDS)


def _wait_for_pod(facts: Facts, running: PhaseStatus) -> Move:
    pod = _pod_of(facts, running)
    if pod is not None and pod.state in WAITING:
        warning = facts.pod_warning
        said = pod.message or (warning.message if warning is not None else "")
        silent = running.name.value if warning is None else warning.reason or "PodNotStarted"
        reason = pod.reason or silent
        message = f"pod {pod.name} is waiting ({pod.state})" + (f": {said}" if said else "")
        return Move(Outlook.WAITING, reason, message, phase=running.name, wake_after=POLL_SECONDS)
    return Move(Outlook.WORKING, running.name.value, f"attempt {running.attempt} is running", phase=running.name)


def _stop(facts: Facts, running: PhaseStatus, reason: str) -> Move:
    pod = _pod_of(facts, running)
    message = f"stopping {running.name}: {reason}"
    step = StopPod(pod.name, pod.uid) if pod is not None and not pod.deleting else None
    return Move(Outlook.WAITING, "Stopping", message, step, phase=running.name, wake_after=POLL_SECONDS)


def _pod_of(facts: Facts, running: PhaseStatus) -> PodFact | None:
    return next((pod for pod in facts.pods if pod.phase == running.name and pod.attempt == running.attempt), None)


def _retry_due(phase: PhaseStatus, digest: str, spec: ClusterBuildSpec) -> datetime | None:
    if phase.state != PhaseState.FAILED or phase.input_digest != digest or phase.end_time is None:
        return None
    return phase.end_time + timedelta(seconds=back_off_seconds(phase.failures, spec.retries))


def _decide_afterwork(facts: Facts, ledger: Ledger, move: Move) -> tuple[Afterwork, ...]:
    settled = [pod for pod in facts.pods if pod.state in SETTLED]
    work: list[Afterwork] = [ForgetPod(name) for name in facts.orphans]
    work += [ForgetPod(pod.name) for pod in (facts.pods if move.finalize else settled) if pod.holds_result]
    for name in PHASE_ORDER:
        old = sorted((pod for pod in settled if pod.phase == name), key=lambda pod: pod.attempt)[:-PODS_KEPT]
        work += [DeletePod(pod.name, pod.uid) for pod in old if not pod.deleting]
    surplus = compute_surplus(facts, ledger, move)
    if surplus:
        work.append(ReleaseMachines(surplus))
    return tuple(work)


ELAPSED_TICK_SECONDS = 10.0
"""Interval at which the elapsed time in the status of a working build is updated."""


def _compute_wake(facts: Facts, ledger: Ledger, move: Move) -> float | None:
    if move.outlook in FINAL_OUTLOOKS or move.finalize:
        return move.wake_after
    waits = [ELAPSED_TICK_SECONDS] if ledger.running() is not None else []
    if move.wake_after is not None:
        waits.append(move.wake_after)
    if facts.build.deleted is not None:
        waits.append(POLL_SECONDS)
    return min(waits, default=None)

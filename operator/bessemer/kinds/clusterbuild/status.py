"""The status of a build: phases, counters, conditions, elapsed time; and the Events for its changes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bessemer.api.clusterbuild.status import ClusterBuildStatus, PhaseProgress, PhaseState, PhaseStatus
from bessemer.api.phase_contract import PHASE_ORDER, PhaseName
from bessemer.engine.conditions import Truth, Verdict, compute_conditions
from bessemer.engine.event_facts import EventFact
from bessemer.kinds.clusterbuild.facts import Facts, compute_missing
from bessemer.kinds.clusterbuild.ledger import Ledger, is_done, wanted_digest
from bessemer.kinds.clusterbuild.nodes import count_nodes, describe_failed
from bessemer.kinds.clusterbuild.plan import FINAL_OUTLOOKS, Move, Outlook

PHASE_CONDITIONS: dict[PhaseName, str] = {
    PhaseName.PREFLIGHT: "PreflightPassed",
    PhaseName.BOOT_MANAGEMENT: "ManagementBooted",
    PhaseName.CONFIGURE_MANAGEMENT: "ManagementConfigured",
    PhaseName.BOOT_COMPUTE: "NodesBooted",
    PhaseName.CONFIGURE_SERVICES: "ServicesConfigured",
    PhaseName.VERIFY: "JobsVerified",
    PhaseName.CLEANUP: "CleanedUp",
}
"""The condition that shows whether a phase has reached its goal."""
_ELAPSED_GRAIN_SECONDS = 10


def compute_status(facts: Facts, ledger: Ledger, move: Move, now: datetime) -> ClusterBuildStatus:
    """Return the whole status from facts and decision."""
    before, build = facts.build.status, facts.build
    settled = move.outlook in FINAL_OUTLOOKS
    start, end = before.start_time or now, before.end_time
    if settled:
        end = end or now
    elif end is not None:
        start, end = now, None
    running = ledger.running()
    live = facts.live if running is not None else None
    progress = None
    if live is not None and running is not None:
        progress = PhaseProgress(
            phase=running.name, message=live.message, done=live.done, total=live.total, nodes=live.nodes
        )
    return ClusterBuildStatus(
        observed_generation=build.generation,
        phase=_describe_phase(move),
        start_time=start,
        end_time=end,
        elapsed=format_elapsed(start, end, now),
        ssh_public_key=facts.secret.ssh_public_key or before.ssh_public_key,
        phases=[ledger.phases[name] for name in PHASE_ORDER],
        nodes=count_nodes(ledger.nodes, live.nodes if live else ()),
        jobs=list(ledger.jobs),
        progress=progress,
        handled_retry=facts.retry_value if facts.retry_value is not None else before.handled_retry,
        conditions=compute_conditions(
            _compute_verdicts(facts, ledger, move), before.conditions, build.generation, now.replace(microsecond=0)
        ),
    )


def format_elapsed(start: datetime, end: datetime | None, now: datetime) -> str:
    """Return the time between two moments such as 1h02m10s; for unfinished work in steps of ten seconds."""
    seconds = max(0, int(((end or now) - start).total_seconds()))
    if end is None:
        seconds -= seconds % _ELAPSED_GRAIN_SECONDS
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours}h{minutes:02}m{seconds % 60:02}s"
    return f"{minutes}m{seconds % 60:02}s" if minutes else f"{seconds}s"


def _describe_phase(move: Move) -> str:
    if move.outlook in FINAL_OUTLOOKS or move.outlook == Outlook.DELETING:
        return move.outlook.value
    return move.phase.value if move.phase else "Pending"


def _compute_verdicts(facts: Facts, ledger: Ledger, move: Move) -> list[Verdict]:
    deleting = facts.build.deleted is not None
    failed = describe_failed(ledger.nodes)
    return [
        _ready_verdict(move, deleting),
        _progressing_verdict(move),
        Verdict("Degraded", "True", "NodesFailed", failed) if failed else Verdict("Degraded", "False", "AsWanted"),
        Verdict("Paused", _truth(facts.paused), "Annotated" if facts.paused else "NotPaused"),
        _claims_verdict(facts, move),
        *(_phase_verdict(facts, ledger, name) for name in PHASE_ORDER),
        Verdict("Deleting", _truth(deleting), "DeletionRequested" if deleting else "NotDeleting"),
    ]


def _ready_verdict(move: Move, deleting: bool) -> Verdict:
    if move.outlook == Outlook.READY:
        return Verdict("Ready", "True", "Verified", move.message)
    if deleting:
        return Verdict("Ready", "False", "Deleting", move.message)
    reason = move.reason if move.outlook in FINAL_OUTLOOKS else "Building"
    return Verdict("Ready", "False", reason, move.message)


def _progressing_verdict(move: Move) -> Verdict:
    going = move.outlook not in FINAL_OUTLOOKS and move.outlook != Outlook.PAUSED
    return Verdict("Progressing", _truth(going), move.reason, move.message)


def _claims_verdict(facts: Facts, move: Move) -> Verdict:
    if facts.claims.conflict:
        return Verdict("MachinesClaimed", "False", "HeldByAnotherBuild", facts.claims.conflict)
    if facts.build.spec is not None and not compute_missing(facts) and move.outlook != Outlook.ABORTED:
        count = 1 + len(facts.build.spec.compute.macs)
        return Verdict("MachinesClaimed", "True", "Claimed", f"{count} machines by {len(facts.claims.held)} Leases")
    return Verdict("MachinesClaimed", "False", "NotClaimed")


def _phase_verdict(facts: Facts, ledger: Ledger, name: PhaseName) -> Verdict:
    phase, type_ = ledger.phases[name], PHASE_CONDITIONS[name]
    message = phase.message or ""
    if phase.state == PhaseState.PENDING:
        return Verdict(type_, "Unknown", phase.reason or "NotStarted", message)
    if phase.state == PhaseState.RUNNING:
        return Verdict(type_, "Unknown", "Running", f"attempt {phase.attempt}")
    if phase.state == PhaseState.FAILED:
        return Verdict(type_, "False", phase.reason or "Failed", message)
    spec = facts.build.spec
    if spec is not None and not is_done(phase, wanted_digest(name, ledger, facts, spec)):
        return Verdict(type_, "Unknown", "Outdated", "what it was run with has changed")
    return Verdict(type_, "True", phase.reason or "Succeeded", message)


def _truth(holds: bool) -> Truth:
    return "True" if holds else "False"


def compute_events(
    before: ClusterBuildStatus, after: ClusterBuildStatus, settled: Iterable[PhaseStatus]
) -> list[EventFact]:
    """Return Events for the changes between two statuses and for the attempts that have ended."""
    events = []
    for attempt in settled:
        ended, text = attempt.state, attempt.message or attempt.reason
        if ended == PhaseState.SUCCEEDED:
            events.append(EventFact("Normal", "PhaseSucceeded", f"{attempt.name}: {text}"))
        else:
            message = f"{attempt.name}, attempt {attempt.attempt}: {text}"
            events.append(EventFact("Warning", attempt.reason or "Failed", message))
    for phase in after.phases:
        last = before.phase_status(phase.name)
        if phase.attempt > last.attempt:
            events.append(EventFact("Normal", "PhaseStarted", f"{phase.name}: attempt {phase.attempt} in {phase.pod}"))
        if phase.state == PhaseState.SKIPPED and last.state != phase.state:
            events.append(EventFact("Normal", "PhaseSkipped", f"{phase.name}: {phase.message}"))
    for type_ in ("Ready", "Progressing", "Degraded"):
        events += _condition_events(before, after, type_)
    return events


_PLAIN_PROGRESS = frozenset({"Starting", "Ready", "Stopping", "Paused", *PhaseName})
"""Reasons of the condition Progressing that are not problems."""


def _condition_events(before: ClusterBuildStatus, after: ClusterBuildStatus, type_: str) -> list[EventFact]:
    new, old = after.condition(type_), before.condition(type_)
    if new is None or (
        old is not None and (old.status, old.reason, old.message) == (new.status, new.reason, new.message)
    ):
        return []
    if type_ == "Ready" and new.status == "True" and (old is None or old.status != "True"):
        return [EventFact("Normal", "Ready", f"{new.message} after {after.elapsed}")]
    if type_ == "Degraded" and new.status == "True":
        return [EventFact("Warning", "Degraded", new.message)]
    if type_ == "Progressing" and new.reason not in _PLAIN_PROGRESS:
        return [EventFact("Normal" if new.reason == "Deleted" else "Warning", new.reason, new.message)]
    return []

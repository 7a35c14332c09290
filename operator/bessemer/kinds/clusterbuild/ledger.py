"""The record of attempts: the status, updated from the pods.

A pod that we made (see ``ownpods.py``) proves that its attempt has begun: any such pod is adopted, whether or not the
status mentions it. The number of the next attempt is one more than the highest known from either source. A pod stays
until its result is in the status. So no attempt runs twice and none is lost, whenever the operator dies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from bessemer.api.clusterbuild.limits import Retries
from bessemer.api.clusterbuild.spec import ClusterBuildSpec, InstallMethod
from bessemer.api.clusterbuild.status import NodesStatus, PhaseState, PhaseStatus
from bessemer.api.phase_contract import PHASE_ORDER, JobResult, NodeState, PhaseName, PhaseResult
from bessemer.api.reasons import POD_LOST
from bessemer.kinds.clusterbuild.digests import compute_cleanup_digest, compute_input_digest
from bessemer.kinds.clusterbuild.facts import Facts, power_off_wanted
from bessemer.kinds.clusterbuild.nodes import INSTALLED_STATES, carry_over, describe_failed, merge_groups, promote
from bessemer.kinds.clusterbuild.outcome import parse_outcome
from bessemer.kube.pods import SETTLED, PodFact
from bessemer.pauses import compute_growing_pause

DONE = frozenset({PhaseState.SUCCEEDED, PhaseState.SKIPPED})


@dataclass(frozen=True)
class Ledger:
    """Phases, nodes and jobs as known in one pass."""

    phases: Mapping[PhaseName, PhaseStatus]
    nodes: NodesStatus
    jobs: tuple[JobResult, ...]
    settled: tuple[PhaseStatus, ...] = ()
    """Attempts whose end was discovered in this pass."""

    def attempts(self) -> dict[PhaseName, int]:
        """Return the number of each phase's latest attempt."""
        return {name: phase.attempt for name, phase in self.phases.items()}

    def change(self, name: PhaseName, **changes: object) -> Ledger:
        """Return the ledger with other values in fields of one phase."""
        return replace(self, phases={**self.phases, name: self.phases[name].model_copy(update=changes)})

    def running(self) -> PhaseStatus | None:
        """Return the phase that has a running pod."""
        return next((phase for phase in self.phases.values() if phase.state == PhaseState.RUNNING), None)


def compute_ledger(facts: Facts, now: datetime) -> Ledger:
    """Return the recorded status merged with the pods.

    Retry budgets are reset if the spec or the retry annotation has changed.
    """
    status, spec = facts.build.status, facts.build.spec
    nodes = carry_over(spec, status.nodes) if spec else status.nodes
    ledger = Ledger({name: status.phase_status(name) for name in PHASE_ORDER}, nodes, tuple(status.jobs))
    for name in PHASE_ORDER:
        pods = sorted((pod for pod in facts.pods if pod.phase == name), key=lambda pod: pod.attempt)
        for pod in pods:
            ledger = _fold_pod(ledger, name, pod, facts, now)
        recorded = ledger.phases[name]
        if recorded.state == PhaseState.RUNNING and all(pod.attempt != recorded.attempt for pod in pods):
            ledger = _settle(ledger, name, _vanished(recorded), facts, now)
    if _retry_is_new(facts) or facts.build.generation != status.observed_generation:
        for name in PHASE_ORDER:
            ledger = ledger.change(name, failures=0)
    if _retry_is_new(facts) and ledger.phases[PhaseName.BOOT_COMPUTE].state in DONE and describe_failed(ledger.nodes):
        # The build went on without some nodes: try them again. The phases that build on BootCompute follow.
        ledger = ledger.change(PhaseName.BOOT_COMPUTE, state=PhaseState.PENDING, reason="RetryWanted", message=None)
    return ledger


def wanted_digest(name: PhaseName, ledger: Ledger, facts: Facts, spec: ClusterBuildSpec) -> str:
    """Return the digest of the input with which an attempt of the phase would start now."""
    if name == PhaseName.CLEANUP:
        keep = persistent_entries_wanted(ledger, facts, spec)
        return compute_cleanup_digest(ledger.attempts(), power_off=power_off_wanted(facts), keep_persistent=keep)
    digest = compute_input_digest(name, spec, ledger.attempts())
    if name == PhaseName.PREFLIGHT and facts.key_problem is not None and not is_done(ledger.phases[name], digest):
        # A login key that appears changes the input, so that Preflight runs again; a key that disappears later starts
        # nothing.
        return compute_input_digest(name, spec, ledger.attempts(), key_missing=True)
    return digest


def persistent_entries_wanted(ledger: Ledger, facts: Facts, spec: ClusterBuildSpec) -> bool:
    """Return whether stateless machines of a verified build need their boot entries at their next boot."""
    installs = (spec.compute.install, spec.management.install)
    stateless = any(install is not None and install.method == InstallMethod.STATELESS for install in installs)
    if not stateless or facts.build.deleted is not None:
        return False
    earlier = (phase for name, phase in ledger.phases.items() if name != PhaseName.CLEANUP)
    return all(is_done(phase, compute_input_digest(phase.name, spec, ledger.attempts())) for phase in earlier)


def skip(ledger: Ledger, name: PhaseName, digest: str, message: str) -> Ledger:
    """Return the ledger with a phase that reached its goal without an attempt."""
    return ledger.change(name, state=PhaseState.SKIPPED, reason="Skipped", message=message, input_digest=digest)


def skip_unwanted(ledger: Ledger, facts: Facts, spec: ClusterBuildSpec) -> Ledger:
    """Return the ledger in which BootManagement is skipped if it is reached and not wanted."""
    name = PhaseName.BOOT_MANAGEMENT
    if spec.management.provision or ledger.phases[name].state == PhaseState.RUNNING:
        return ledger
    earlier = PHASE_ORDER[: PHASE_ORDER.index(name)]
    if not all(is_done(ledger.phases[each], wanted_digest(each, ledger, facts, spec)) for each in earlier):
        return ledger
    return skip(ledger, name, wanted_digest(name, ledger, facts, spec), "management.provision is false")


def find_current(ledger: Ledger, facts: Facts, spec: ClusterBuildSpec) -> PhaseName | None:
    """Return the first wanted phase before Cleanup that is not done; None: all are done."""
    for name in PHASE_ORDER:
        unwanted = name == PhaseName.BOOT_MANAGEMENT and not spec.management.provision
        if name == PhaseName.CLEANUP or unwanted:
            continue
        if not is_done(ledger.phases[name], wanted_digest(name, ledger, facts, spec)):
            return name
    return None


def repeat_lost_boots(ledger: Ledger, spec: ClusterBuildSpec) -> Ledger:
    """Return the ledger with the boot phases of stateless machines due again if Cleanup removed what boots need.

    Cleanup does so after a failure or an abort, and before a deletion. Machines that are running are then only checked
    and staged.
    """
    attempts = ledger.attempts()
    full = [compute_cleanup_digest(attempts, power_off=off, keep_persistent=False) for off in (False, True)]
    if not any(is_done(ledger.phases[PhaseName.CLEANUP], digest) for digest in full):
        return ledger
    boots = ((PhaseName.BOOT_MANAGEMENT, spec.management.install), (PhaseName.BOOT_COMPUTE, spec.compute.install))
    for name, install in boots:
        stateless = install is not None and install.method == InstallMethod.STATELESS
        if stateless and ledger.phases[name].state == PhaseState.SUCCEEDED:
            ledger = ledger.change(name, state=PhaseState.PENDING, reason="BootEntriesTakenBack", message=None)
    return ledger


def is_done(phase: PhaseStatus, digest: str) -> bool:
    """Return whether the phase has reached its goal with exactly that input."""
    return phase.state in DONE and phase.input_digest == digest


def is_exhausted(phase: PhaseStatus, digest: str, retries: Retries) -> bool:
    """Return whether the phase has failed permanently with exactly that input."""
    if phase.state != PhaseState.FAILED or phase.failures == 0 or phase.input_digest != digest:
        return False
    return not phase.retryable or phase.failures >= retries.phase_attempts


def back_off_seconds(failures: int, retries: Retries) -> int:
    """Return the seconds to wait after that many failures: doubled each time, up to a limit."""
    if failures == 0:
        return 0
    return int(compute_growing_pause(retries.back_off_seconds, failures, retries.max_back_off_seconds))


def _retry_is_new(facts: Facts) -> bool:
    return facts.retry_value is not None and facts.retry_value != facts.build.status.handled_retry


def _fold_pod(ledger: Ledger, name: PhaseName, pod: PodFact, facts: Facts, now: datetime) -> Ledger:
    recorded = ledger.phases[name]
    if pod.attempt < recorded.attempt or (pod.attempt == recorded.attempt and recorded.state != PhaseState.RUNNING):
        return ledger
    if pod.attempt > recorded.attempt:
        same_input = recorded.input_digest == pod.input_digest
        ledger = ledger.change(
            name,
            state=PhaseState.RUNNING,
            attempt=pod.attempt,
            failures=recorded.failures if same_input else 0,
            pod=pod.name,
            pod_uid=pod.uid,
            start_time=pod.created,
            end_time=None,
            reason="Running",
            message=None,
            retryable=False,
            input_digest=pod.input_digest,
        )
        if name == PhaseName.VERIFY:
            ledger = replace(ledger, jobs=())
    if pod.state in SETTLED:
        ledger = _settle(ledger, name, parse_outcome(pod), facts, pod.finished or now)
    return ledger


def _settle(ledger: Ledger, name: PhaseName, result: PhaseResult, facts: Facts, ended: datetime) -> Ledger:
    recorded = ledger.phases[name]
    reason, message, counted = result.reason, result.message, not result.succeeded
    stopped = _why_stopped(name, recorded, ledger, facts) if result.reason == POD_LOST else None
    if stopped is not None:
        (reason, message), counted = stopped, False
    ledger = ledger.change(
        name,
        state=PhaseState.SUCCEEDED if result.succeeded else PhaseState.FAILED,
        failures=recorded.failures + (1 if counted else 0),
        retryable=result.retryable,
        end_time=max(ended, recorded.start_time or ended),
        reason=reason,
        message=message or None,
    )
    outdated = facts.build.spec is None or recorded.input_digest != wanted_digest(name, ledger, facts, facts.build.spec)
    return replace(
        ledger,
        nodes=_compute_nodes(name, result, merge_groups(ledger.nodes, result.nodes, outdated=outdated)),
        jobs=tuple(result.jobs) if name == PhaseName.VERIFY else ledger.jobs,
        settled=(*ledger.settled, ledger.phases[name]),
    )


def _compute_nodes(name: PhaseName, result: PhaseResult, nodes: NodesStatus) -> NodesStatus:
    """Return the nodes after an attempt, given those with what it has reported of each."""
    if not result.succeeded:
        return nodes
    if name == PhaseName.CONFIGURE_MANAGEMENT:
        return nodes.model_copy(update={"removed": ""})
    if name == PhaseName.CONFIGURE_SERVICES and not result.nodes:
        return promote(nodes, NodeState.CONFIGURED, frozenset({NodeState.INSTALLED}))
    if name == PhaseName.VERIFY and not result.nodes:
        return promote(nodes, NodeState.READY, INSTALLED_STATES)
    return nodes


def _why_stopped(name: PhaseName, recorded: PhaseStatus, ledger: Ledger, facts: Facts) -> tuple[str, str] | None:
    """Return reason and message if we stopped the pod ourselves.

    Such an attempt does not count against the retry budget.
    """
    spec = facts.build.spec
    if facts.build.deleted is not None and name != PhaseName.CLEANUP:
        return "Deleted", "stopped because the build is being deleted"
    if facts.abort_wanted and name != PhaseName.CLEANUP:
        return "Aborted", "stopped by the annotation bessemer.dev/abort"
    if spec is not None and recorded.input_digest != wanted_digest(name, ledger, facts, spec):
        return "Superseded", "stopped because what it was started with has changed"
    return None


def _vanished(recorded: PhaseStatus) -> PhaseResult:
    message = f"pod {recorded.pod} is gone and left no result"
    return PhaseResult(succeeded=False, reason=POD_LOST, message=message, retryable=True)

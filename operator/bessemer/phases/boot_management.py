"""BootManagement: install the management node from the given boot host, until SSH answers with the planted host key."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.phase_contract import NodeState, PhaseInput, PhaseResult, Progress
from bessemer.api.reasons import INTERNAL_ERROR, INVALID_SPEC
from bessemer.errors import Invalid
from bessemer.machines.machine import build_management_machine, build_management_target
from bessemer.machines.netboot.entries import InstallKind, build_boot_host_sources
from bessemer.phases.boot_endpoints import build_boot_host_endpoint
from bessemer.phases.context import PhaseContext
from bessemer.phases.grouping import NodeOutcome
from bessemer.phases.install import InstallClients, InstallJob, run_install
from bessemer.phases.install_facts import Policy


def run(phase_input: PhaseInput, context: PhaseContext) -> PhaseResult:
    """Install the management node; where it is given, there is nothing to do."""
    spec = phase_input.spec
    if not spec.management.provision:
        return PhaseResult(succeeded=True, reason="Succeeded", message="the management node is given")
    if spec.management.install is None:
        raise Invalid(INVALID_SPEC, "spec.management.install is required where provision is true")
    kind = InstallKind(
        build=phase_input.uid,
        phase=phase_input.phase,
        phase_attempt=phase_input.attempt,
        install=spec.management.install,
        sources=build_boot_host_sources(spec, spec.management.install),
        secrets=context.secrets,
    )
    machine = build_management_machine(spec)
    target = build_management_target(spec, context.secrets.host_key(machine.host).public)
    job = InstallJob(kind, [machine], {machine.host: target}, Policy(spec.deadlines, spec.retries.node_attempts, 1))
    boot_server = context.boot_server(build_boot_host_endpoint(spec))
    clients = InstallClients(context.power, boot_server, context.ssh, context.clock, context.pool)

    def report(outcomes: Sequence[NodeOutcome]) -> None:
        done = sum(node.state is NodeState.INSTALLED for node in outcomes)
        context.progress.post(Progress(message=f"{machine.host}: {outcomes[0].state}", done=done, total=1))

    (outcome,) = run_install(job, clients, report)
    return build_result(outcome)


def build_result(outcome: NodeOutcome) -> PhaseResult:
    """Return how the phase ended: as its one machine did."""
    if outcome.state is NodeState.INSTALLED:
        return PhaseResult(succeeded=True, reason="Succeeded", message=f"{outcome.host} is installed")
    reason = outcome.reason or INTERNAL_ERROR
    return PhaseResult(succeeded=False, reason=reason, message=f"{outcome.host}: {outcome.message}", retryable=True)

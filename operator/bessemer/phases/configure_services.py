"""ConfigureServices: put the installed compute nodes into service; some may fail."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.api.phase_contract import NodeState, PhaseInput, PhaseResult
from bessemer.machines.ansible import HostState, PlaybookOutcome, build_failure_message
from bessemer.machines.machine import compute_min_ready
from bessemer.phases.configure import MARGIN_SECONDS, failure_reason, find_site_playbook, our_playbook, run_playbooks
from bessemer.phases.context import PhaseContext
from bessemer.phases.deadline import Deadline
from bessemer.phases.grouping import NodeOutcome, build_node_groups
from bessemer.phases.hosts import select_installed


def run(phase_input: PhaseInput, context: PhaseContext) -> PhaseResult:
    """Configure the compute nodes that have their system."""
    deadline = Deadline(phase_input, context.clock, MARGIN_SECONDS)
    own = phase_input.spec.configuration.playbooks
    site = find_site_playbook(context.directories.playbooks, own.services if own else None, "services")
    computes = [machine.host for machine in select_installed(phase_input)]
    playbooks = [our_playbook("configure_services.yml"), *site, our_playbook("settle_nodes.yml")]
    configured = [phase_input.spec.management.host, *computes]
    outcome = run_playbooks(phase_input, context, deadline, playbooks, computes, configured)
    return build_result(phase_input.spec, computes, outcome)


def build_result(spec: ClusterBuildSpec, computes: Sequence[str], outcome: PlaybookOutcome) -> PhaseResult:
    """Return how the phase ended: the management node's failure is everybody's, a compute node's is its own."""
    nodes = build_outcomes(computes, outcome)
    failed = outcome.failed()
    if spec.management.host in failed:
        ours = failed[spec.management.host]
        reason = failure_reason(ours)
        message = build_failure_message({spec.management.host: ours})
        groups = build_node_groups(node for node in nodes if node.host in failed)
        return PhaseResult(succeeded=False, reason=reason, message=message[:2048], retryable=True, nodes=groups)
    return build_nodes_result(nodes, compute_min_ready(spec), "configured", build_failure_message(failed))


def build_outcomes(computes: Sequence[str], outcome: PlaybookOutcome) -> list[NodeOutcome]:
    """Return what became of each compute node."""
    nodes = []
    for host in computes:
        found = outcome.hosts[host]
        if found.state is HostState.OK:
            nodes.append(NodeOutcome(host, NodeState.CONFIGURED))
        else:
            nodes.append(NodeOutcome(host, NodeState.FAILED, failure_reason(found), found.message))
    return nodes


def build_nodes_result(nodes: Sequence[NodeOutcome], min_ready: int, done: str, missing: str) -> PhaseResult:
    """Return how a phase ended by its nodes: enough of them, or too few, and who is missing."""
    good = sum(node.state is not NodeState.FAILED for node in nodes)
    message = f"{good} of {len(nodes)} nodes {done}" + (f"; {missing}" if missing else "")
    groups = build_node_groups(nodes)
    if good < min_ready:
        message = f"{message}; at least {min_ready} must be"
        return PhaseResult(succeeded=False, reason="TooFewNodes", message=message[:2048], retryable=True, nodes=groups)
    return PhaseResult(succeeded=True, reason="Succeeded", message=message[:2048], nodes=groups)

"""BootCompute: install the compute nodes from the management node, in bounded waves; some may fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bessemer.api.phase_contract import NodeState, PhaseInput, PhaseResult, Progress
from bessemer.machines.hostlists import build_hostlist
from bessemer.machines.machine import (
    build_compute_target,
    build_management_target,
    compute_min_ready,
    parse_compute_machines,
)
from bessemer.machines.netboot.entries import InstallKind, build_management_sources
from bessemer.phases.boot_endpoints import build_management_endpoint
from bessemer.phases.context import PhaseContext
from bessemer.phases.grouping import NodeOutcome, build_node_groups, parse_node_groups
from bessemer.phases.install import InstallClients, InstallJob, run_install
from bessemer.phases.install_facts import Policy

HAS_SYSTEM = (NodeState.INSTALLED, NodeState.CONFIGURED, NodeState.READY, NodeState.DRAINED)
"""States of nodes that were installed before; they are only looked at."""


def run(phase_input: PhaseInput, context: PhaseContext) -> PhaseResult:
    """Install the compute nodes that aren't installed yet."""
    spec, secrets = phase_input.spec, context.secrets
    machines = parse_compute_machines(spec)
    min_ready = compute_min_ready(spec)
    management = build_management_target(spec, secrets.host_key(spec.management.host).public)
    kind = InstallKind(
        build=phase_input.uid,
        phase=phase_input.phase,
        phase_attempt=phase_input.attempt,
        install=spec.compute.install,
        sources=build_management_sources(spec),
        secrets=secrets,
    )
    known = parse_node_groups(phase_input.nodes, [machine.host for machine in machines])
    job = InstallJob(
        kind=kind,
        machines=machines,
        targets={
            machine.host: build_compute_target(machine, secrets.host_key(machine.host).public, management)
            for machine in machines
        },
        policy=Policy(spec.deadlines, spec.retries.node_attempts, spec.compute.max_concurrent),
        installed_before=[host for host, group in known.items() if group.state in HAS_SYSTEM],
    )
    boot_server = context.boot_server(build_management_endpoint(spec, management))
    clients = InstallClients(context.power, boot_server, context.ssh, context.clock, context.pool)
    outcomes = run_install(job, clients, lambda seen: context.progress.post(build_progress(seen)))
    return build_result(outcomes, min_ready)


def build_progress(outcomes: Sequence[NodeOutcome]) -> Progress:
    """Return how far the nodes are: how many of each state."""
    counts = Counter(node.state for node in outcomes)
    return Progress(
        message=", ".join(f"{count} {state}" for state, count in counts.items()),
        done=counts[NodeState.INSTALLED],
        total=len(outcomes),
        nodes=build_node_groups(outcomes),
    )


def build_result(outcomes: Sequence[NodeOutcome], min_ready: int) -> PhaseResult:
    """Return how the phase ended: enough nodes, or too few, and who is missing."""
    installed = sum(node.state is NodeState.INSTALLED for node in outcomes)
    failed: dict[str, list[str]] = {}
    for node in outcomes:
        if node.state is NodeState.FAILED:
            failed.setdefault(node.reason or "Failed", []).append(node.host)
    missing = "; ".join(f"{reason}: {build_hostlist(hosts)}" for reason, hosts in failed.items())
    message = f"{installed} of {len(outcomes)} nodes installed" + (f"; {missing}" if missing else "")
    groups = build_node_groups(outcomes)
    if installed < min_ready:
        message = f"{message}; at least {min_ready} must be"[:2048]
        return PhaseResult(succeeded=False, reason="TooFewNodes", message=message, retryable=True, nodes=groups)
    return PhaseResult(succeeded=True, reason="Succeeded", message=message[:2048], nodes=groups)

"""Verify: the proof that the cluster works: nodes are in service in Slurm, and the build's jobs pass."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from bessemer.api.phase_contract import JobResult, NodeGroup, NodeState, PhaseInput, PhaseResult, Progress
from bessemer.machines.clock import Clock
from bessemer.machines.hostlists import build_hostlist
from bessemer.machines.machine import compute_min_ready, parse_compute_machines
from bessemer.machines.slurm import Slurm, SlurmNode
from bessemer.phases.configure_services import build_nodes_result
from bessemer.phases.context import PhaseContext
from bessemer.phases.deadline import Deadline
from bessemer.phases.grouping import NodeOutcome, parse_node_groups
from bessemer.phases.hosts import NOT_IN_SLURM
from bessemer.phases.verify_job import check_jobs, run_job

REGISTER_SECONDS = 120.0
"""How long nodes may take until Slurm has them in service; slurmd registers within seconds once it runs."""
MARGIN_SECONDS = 300.0
"""What a management node that doesn't answer may cost at the end, each command some 70 s: one that is under way, and
those that end the job and fetch its output."""
SHORTEST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 3.0
CONFIGURED = (NodeState.CONFIGURED, NodeState.READY)

_log = logging.getLogger(__name__)


def run(phase_input: PhaseInput, context: PhaseContext) -> PhaseResult:
    """Wait for the nodes, then run the jobs one after the other; all must pass."""
    spec = phase_input.spec
    check_jobs(spec.verify.jobs)
    deadline = Deadline(phase_input, context.clock, MARGIN_SECONDS)
    context.progress.post(Progress(message="wait until Slurm has the nodes in service"))
    patience = min(REGISTER_SECONDS, deadline.compute_left())
    nodes = wait_for_nodes(context.slurm, context.clock, select_configured(phase_input), patience)
    usable = [node.host for node in nodes if node.state is not NodeState.FAILED]
    missing = describe_missing(nodes)
    result = build_nodes_result(nodes, compute_min_ready(spec), "ready", missing)
    if not result.succeeded:
        return result.model_copy(update={"nodes": select_failed(result)})
    jobs: list[JobResult] = []
    for number, job in enumerate(spec.verify.jobs):
        context.progress.post(Progress(message=f"job {job.name}", done=number, total=len(spec.verify.jobs)))
        jobs.append(run_job(context.slurm, context.clock, job, usable, deadline.moment))
        _log.info("job %s: %s", job.name, "passed" if jobs[-1].passed else f"failed: {jobs[-1].message}")
    return build_result(result, jobs)


def select_configured(phase_input: PhaseInput) -> list[str]:
    """List the compute nodes that were configured; one that was missed here before is looked for again."""
    hosts = [machine.host for machine in parse_compute_machines(phase_input.spec)]
    groups = parse_node_groups(phase_input.nodes, hosts)
    return [
        host
        for host in hosts
        if (group := groups.get(host))
        and (group.state in CONFIGURED or (group.state is NodeState.FAILED and group.reason == NOT_IN_SLURM))
    ]


def wait_for_nodes(slurm: Slurm, clock: Clock, hosts: Sequence[str], patience_seconds: float) -> list[NodeOutcome]:
    """Wait until Slurm has hosts in service; those that it hasn't in time have failed."""
    deadline, pause = clock.now() + patience_seconds, SHORTEST_POLL_SECONDS
    while True:
        found = {node.host: node for node in slurm.list_nodes()}
        late = [host for host in hosts if host not in found or not found[host].usable]
        if not late or clock.now() >= deadline:
            return [build_outcome(host, found, host in late) for host in hosts]
        clock.sleep(pause)
        pause = min(LONGEST_POLL_SECONDS, pause * 1.5)


def build_outcome(host: str, found: Mapping[str, SlurmNode], late: bool) -> NodeOutcome:
    """Return what became of one node in Slurm."""
    if not late:
        return NodeOutcome(host, NodeState.READY)
    node = found.get(host)
    message = "Slurm doesn't know it" if node is None else f"Slurm has it as {node.state}"
    if node is not None and node.reason:
        message += f": {node.reason}"
    return NodeOutcome(host, NodeState.FAILED, NOT_IN_SLURM, message)


def describe_missing(nodes: Sequence[NodeOutcome]) -> str:
    """Name the nodes that failed, those with the same message together."""
    alike: dict[str, list[str]] = {}
    for node in nodes:
        if node.state is NodeState.FAILED:
            alike.setdefault(node.message or "", []).append(node.host)
    return "; ".join(f"{build_hostlist(hosts)}: {message}" for message, hosts in alike.items())


def build_result(ready: PhaseResult, jobs: Sequence[JobResult]) -> PhaseResult:
    """Return how the phase ended: nodes are ready only when every job has passed."""
    failed = [job for job in jobs if not job.passed]
    if not failed:
        message = f"{ready.message}; {len(jobs)} of {len(jobs)} jobs passed"
        return ready.model_copy(update={"message": message[:2048], "jobs": list(jobs)})
    message = "; ".join(f"job {job.name}: {job.message}" for job in failed)
    return PhaseResult(
        succeeded=False,
        reason="VerificationFailed",
        message=message[:2048],
        retryable=True,
        nodes=select_failed(ready),
        jobs=list(jobs),
    )


def select_failed(result: PhaseResult) -> list[NodeGroup]:
    """List the nodes that failed: without a job that passed, nothing more is known of the others than before."""
    return [group for group in result.nodes if group.state is NodeState.FAILED]

"""ConfigureManagement: make the management node what the compute nodes boot from and what schedules jobs."""

from __future__ import annotations

import logging
from collections.abc import Collection

from bessemer.api.phase_contract import PhaseInput, PhaseResult
from bessemer.api.reasons import PLAYBOOK_TIMEOUT
from bessemer.errors import Retry
from bessemer.machines.ansible import PlaybookOutcome, build_failure_message
from bessemer.machines.clock import Clock
from bessemer.machines.hostlists import MAX_ANSWERED, build_hostlist, parse_hostlist
from bessemer.machines.slurm import Slurm
from bessemer.phases.configure import (
    MARGIN_SECONDS,
    failure_reason,
    find_site_playbook,
    our_playbook,
    run_playbooks,
)
from bessemer.phases.context import PhaseContext
from bessemer.phases.deadline import Deadline
from bessemer.phases.hosts import CONFIGURATION_FAILED, select_installed

DRAIN_SECONDS = 3600.0
"""Longest wait for the jobs of nodes that leave; no job is killed for that."""
SHORTEST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 5.0
REMOVED_REASON = "bessemer: removed"

_log = logging.getLogger(__name__)


def run(phase_input: PhaseInput, context: PhaseContext) -> PhaseResult:
    """Configure the management node; nodes that left the spec are drained first and then forgotten by Slurm."""
    deadline = Deadline(phase_input, context.clock, MARGIN_SECONDS)
    own = phase_input.spec.configuration.playbooks
    site = find_site_playbook(context.directories.playbooks, own.management if own else None, "management")
    if phase_input.remove_hosts:
        patience = min(DRAIN_SECONDS, deadline.take(PLAYBOOK_TIMEOUT) / 2)
        drain(context.slurm, context.clock, parse_hostlist(phase_input.remove_hosts, MAX_ANSWERED), patience)
    computes = [machine.host for machine in select_installed(phase_input)]
    playbooks = [our_playbook("configure_management.yml"), *site]
    management = phase_input.spec.management.host
    outcome = run_playbooks(phase_input, context, deadline, playbooks, computes, [management])
    return build_result(management, outcome)


def drain(slurm: Slurm, clock: Clock, hosts: Collection[str], patience_seconds: float) -> None:
    """Let no further job start on hosts, and wait until those that run there have ended.

    Hosts that Slurm doesn't know, or that are down, have no jobs to wait for.

    Raises:
        Retry: jobs run on them after ``patience_seconds``.
    """
    deadline, pause = clock.now() + patience_seconds, SHORTEST_POLL_SECONDS
    serving = [node.host for node in slurm.list_nodes() if node.host in hosts and not node.withdrawn]
    if serving:
        _log.info("drain %s", build_hostlist(serving))
        slurm.drain(serving, REMOVED_REASON)
    while busy := [node.host for node in slurm.list_nodes() if node.host in hosts and node.busy]:
        if clock.now() >= deadline:
            waited = f"{patience_seconds:.0f} s"
            raise Retry(
                "DrainTimeout", f"jobs still run on {build_hostlist(busy)}, which left the spec, after {waited}"
            )
        clock.sleep(pause)
        pause = min(LONGEST_POLL_SECONDS, pause * 1.5)


def build_result(management: str, outcome: PlaybookOutcome) -> PhaseResult:
    """Return how the phase ended: as its playbooks did for the management node."""
    failed = outcome.failed()
    if not failed:
        return PhaseResult(succeeded=True, reason="Succeeded", message=f"{management} is configured")
    reason = failure_reason(failed[management]) if management in failed else CONFIGURATION_FAILED
    message = build_failure_message(failed)
    return PhaseResult(succeeded=False, reason=reason, message=message[:2048], retryable=True)

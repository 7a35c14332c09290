"""What ConfigureManagement and ConfigureServices share: our playbooks and the site's own, within one deadline.

A host that failed in one playbook is left out of the next, which learns that it has failed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from bessemer.api.clusterbuild.spec import SharedHome
from bessemer.api.phase_contract import PhaseInput, Progress
from bessemer.api.reasons import PLAYBOOK_MISSING, PLAYBOOK_TIMEOUT
from bessemer.errors import Invalid
from bessemer.machines.ansible import HostOutcome, HostState, PlaybookOutcome, PlaybookRun
from bessemer.machines.playbooks import playbook_directory
from bessemer.machines.secrets import BuildSecrets
from bessemer.phases.context import PhaseContext
from bessemer.phases.daemon_logs import tell_daemons
from bessemer.phases.deadline import Deadline
from bessemer.phases.hosts import CONFIGURATION_FAILED, UNREACHABLE, build_inventory

MARGIN_SECONDS = 60.0
"""So long before Kubernetes would stop the pod the playbook is stopped, so that the phase can say why."""
NOT_DEALT_WITH = "the playbook did nothing there"


def find_site_playbook(directory: Path, name: str | None, field: str) -> list[Path]:
    """Find the site's own playbook; empty where none is wanted.

    Raises:
        Invalid: it is not in the checked out repository.
    """
    if name is None:
        return []
    playbook = (directory / name).resolve()
    if not (playbook.is_relative_to(directory.resolve()) and playbook.is_file()):
        raise Invalid(PLAYBOOK_MISSING, f"spec.configuration.playbooks.{field}: the repository has no file {name}")
    return [playbook]


def run_playbooks(
    phase_input: PhaseInput,
    context: PhaseContext,
    deadline: Deadline,
    playbooks: Sequence[Path],
    computes: Sequence[str],
    configured: Collection[str],
) -> PlaybookOutcome:
    """Run playbooks one after the other on the management node and the given compute nodes.

    The first is ours, and must deal with all the hosts that it configures, ``configured``. A host that failed in one
    playbook has failed, whatever a later one does there. Ends after a playbook that failed for the management node,
    because all else depends on it.
    """
    management = phase_input.spec.management.host
    outcomes: dict[str, HostOutcome] = {}
    for playbook in playbooks:
        failed = {host: failure_reason(found) for host, found in PlaybookOutcome(outcomes).failed().items()}
        left = [host for host in computes if host not in failed]
        run = PlaybookRun(
            playbook=playbook,
            inventory=build_inventory(phase_input, left, build_public_keys(phase_input, context), failed),
            hosts=1 + len(left),
            timeout_seconds=deadline.take(PLAYBOOK_TIMEOUT),
            secret_files=build_secret_files(phase_input, context.secrets),
            roles=[context.directories.playbooks / "roles"],
        )
        done = 0

        def report(task: str, name: str = playbook.stem) -> None:
            nonlocal done
            done += 1
            context.progress.post(Progress(message=f"{name}: {task}"[:256], done=done))

        outcome = context.ansible.run(run, report)
        if (seconds := deadline.compute_left()) > 0:
            outcome = tell_daemons(context.ansible, dataclasses.replace(run, timeout_seconds=seconds), outcome)
        outcomes = add_outcomes(outcomes, outcome.hosts, configured)
        if management in PlaybookOutcome(outcomes).failed():
            break
    return PlaybookOutcome(outcomes)


def add_outcomes(
    before: Mapping[str, HostOutcome], found: Mapping[str, HostOutcome], configured: Collection[str]
) -> dict[str, HostOutcome]:
    """Return the outcomes after one more playbook: of the hosts to be configured, one without an outcome has failed."""
    missed = [host for host in configured if host not in before and host not in found]
    return {
        **before,
        **dict.fromkeys(missed, HostOutcome(HostState.FAILED, NOT_DEALT_WITH)),
        **found,
        **PlaybookOutcome(before).failed(),
    }


def failure_reason(outcome: HostOutcome) -> str:
    """Return the reason of a host that failed in a playbook."""
    return UNREACHABLE if outcome.state is HostState.UNREACHABLE else CONFIGURATION_FAILED


def build_secret_files(phase_input: PhaseInput, secrets: BuildSecrets) -> dict[str, bytes]:
    """Return the secret keys that the roles need, by the variable that names the file."""
    files = {"munge_key_file": secrets.munge_key}
    if phase_input.spec.configuration.shared_home is SharedHome.SSHFS:
        files["sshfs_key_file"] = secrets.homes_key.private.encode()
    return files


def build_public_keys(phase_input: PhaseInput, context: PhaseContext) -> dict[str, str]:
    """Return the public keys that the roles need, by variable."""
    spec = phase_input.spec
    if spec.configuration.shared_home is not SharedHome.SSHFS:
        return {}
    return {
        "sshfs_public_key": context.secrets.homes_key.public,
        "sshfs_host_key": context.targets[spec.management.host].host_key,
    }


def our_playbook(name: str) -> Path:
    """Name one of our own playbooks."""
    return playbook_directory() / name

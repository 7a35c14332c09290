"""What the logs of daemons say on hosts where a playbook has failed.

A daemon that ends is told by Ansible as "non-zero return code" of whatever waits for it. So after any failure, in our
playbooks and the site's, the hosts are asked which of the daemons that our roles start don't run, and what their logs
say.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from bessemer.errors import BessemerError
from bessemer.machines.ansible import Ansible, HostOutcome, HostState, PlaybookOutcome, PlaybookRun
from bessemer.machines.clock import Terminated
from bessemer.machines.playbooks import playbook_directory

PLAYBOOK = "tell_daemons.yml"
GROUP = "bessemer_failed"
"""Group of the inventory that the playbook is for."""
LONGEST_SECONDS = 120.0
_TASK = "Daemons: "
"""The beginning of the message of the task that fails with the logs."""

_log = logging.getLogger(__name__)


def tell_daemons(ansible: Ansible, run: PlaybookRun, outcome: PlaybookOutcome) -> PlaybookOutcome:
    """Return an outcome with what daemons say added to the messages of the hosts that failed.

    Raises Terminated when the pod is being stopped; anything else that goes wrong leaves the outcome as it is.
    """
    failed = [host for host, found in outcome.failed().items() if found.state is HostState.FAILED]
    if not failed:
        return outcome
    try:
        told = ansible.run(_build_run(run, failed), _log.debug).failed()
    except Terminated:
        raise
    except BessemerError as error:
        _log.warning("no logs of daemons: %s", error)
        return outcome
    return PlaybookOutcome({host: _join(found, told.get(host)) for host, found in outcome.hosts.items()})


def _build_run(run: PlaybookRun, hosts: list[str]) -> PlaybookRun:
    everything: Mapping[str, Any] = run.inventory["all"]
    children = {**everything.get("children", {}), GROUP: {"hosts": {host: {} for host in hosts}}}
    return dataclasses.replace(
        run,
        playbook=playbook_directory() / PLAYBOOK,
        inventory={"all": {**everything, "children": children}},
        hosts=len(hosts),
        timeout_seconds=min(LONGEST_SECONDS, run.timeout_seconds),
        secret_files={},
    )


def _join(found: HostOutcome, told: HostOutcome | None) -> HostOutcome:
    if told is None or found.state is HostState.OK or not told.message.startswith(_TASK):
        return found
    return HostOutcome(found.state, f"{found.message}; {told.message.removeprefix(_TASK)}")

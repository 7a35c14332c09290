"""Cleanup: take back what the build staged, on the boot host and on the management node; on request switch all off.

Runs after success, failure and abort, and before a build is deleted. A machine may be in the middle of an install; its
call-backs are then refused, which is right. A management node that can't be reached is reported, but is no failure:
often it was never installed, and nothing can be staged on a machine that is down.
"""

from __future__ import annotations

import logging

from bessemer.api.phase_contract import PhaseInput, PhaseResult
from bessemer.machines.clock import Clock
from bessemer.machines.hostlists import build_hostlist
from bessemer.machines.machine import build_management_target, parse_compute_hosts
from bessemer.machines.netboot.server import BootServer, BootServerFailed
from bessemer.machines.power.patient import PatientPower
from bessemer.machines.power.protocol import (
    Power,
    PowerControlRefused,
    PowerControlUnreachable,
    PowerState,
    UnknownToPowerControl,
)
from bessemer.machines.ssh import SshFailure
from bessemer.phases.boot_endpoints import build_boot_host_endpoint, build_management_endpoint
from bessemer.phases.context import PhaseContext
from bessemer.phases.install_plan import REPEAT_POWER_SECONDS

POLL_SECONDS = 1.0

_log = logging.getLogger(__name__)


def run(phase_input: PhaseInput, context: PhaseContext) -> PhaseResult:
    """Take everything back that can be; says what could not."""
    spec = phase_input.spec
    problems: list[str] = []
    notes: list[str] = []
    if spec.boot_host is not None:
        problems += take_back(context.boot_server(build_boot_host_endpoint(spec)), phase_input)
    planted = context.secrets.host_key(spec.management.host).public
    management = build_management_endpoint(spec, build_management_target(spec, planted))
    notes += take_back(context.boot_server(management), phase_input)
    if phase_input.power_off:
        problems += switch_off(context.power, context.clock, _list_hosts(phase_input), spec.deadlines.power_on_seconds)
    return build_result(problems, notes)


def take_back(server: BootServer, phase_input: PhaseInput) -> list[str]:
    """Withdraw what the build staged on a boot server and release it; gives what went wrong.

    Stateless machines of a build that succeeded keep their entries, unless they have left the spec.
    """
    keep = _list_hosts(phase_input) if phase_input.keep_persistent else []
    try:
        withdrawn = server.withdraw(phase_input.uid, keep_persistent=keep)
        server.release()
    except (SshFailure, BootServerFailed) as error:
        return [error.message]
    if withdrawn.hosts:
        _log.info("withdrawn: %s", build_hostlist(withdrawn.hosts))
    return []


def switch_off(driver: Power, clock: Clock, hosts: list[str], deadline_seconds: float) -> list[str]:
    """Switch machines off and read back that they are; returns what went wrong, with the machines' names."""
    power = PatientPower(driver, clock)
    deadline = clock.now() + deadline_seconds
    command_at = clock.now()
    left, trouble = list(hosts), ""
    while True:
        try:
            if clock.now() >= command_at:
                power.off(left)
                command_at = clock.now() + REPEAT_POWER_SECONDS
            states = power.state(left)
            left, trouble = [host for host in left if states[host] is not PowerState.OFF], "it doesn't read off"
        except UnknownToPowerControl as error:
            return [error.message]
        except (PowerControlUnreachable, PowerControlRefused) as error:
            trouble = error.message
        if not left:
            _log.info("switched off: %s", build_hostlist(hosts))
            return []
        if clock.now() >= deadline:
            silent = power.explain(left)
            alike: dict[str, list[str]] = {}
            for host in left:
                alike.setdefault(silent.get(host, trouble), []).append(host)
            late = f"not off after {deadline_seconds:g} s"
            return [f"{build_hostlist(named)}: {late}: {text}" for text, named in alike.items()]
        clock.sleep(POLL_SECONDS)


def build_result(problems: list[str], notes: list[str]) -> PhaseResult:
    """Return how the phase ended."""
    message = "; ".join([*problems, *notes])[:2048]
    if problems:
        return PhaseResult(succeeded=False, reason="CleanupIncomplete", message=message, retryable=True)
    return PhaseResult(succeeded=True, reason="Succeeded", message=message or "what is no longer needed is taken back")


def _list_hosts(phase_input: PhaseInput) -> list[str]:
    """List all machines, also of a spec whose addresses don't fit its hosts."""
    spec = phase_input.spec
    return [spec.management.host, *parse_compute_hosts(spec)]

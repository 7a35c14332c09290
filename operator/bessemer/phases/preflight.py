"""Preflight: everything that can be known to be wrong before a machine is touched, listed at once.

Touches nothing: it reads states, logs in and looks.
"""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from bessemer.api.clusterbuild.spec import ClusterBuildSpec, OnDelete
from bessemer.api.phase_contract import PhaseInput, PhaseResult, Progress
from bessemer.api.reasons import INTERNAL_ERROR
from bessemer.errors import BessemerError, Invalid
from bessemer.foreign import Unreadable, decode_json, make_line
from bessemer.machines.hostlists import parse_hostlist
from bessemer.machines.machine import SshTarget, build_boot_host_target, build_management_target, compute_min_ready
from bessemer.machines.netboot.server import BASE_DIRECTORY
from bessemer.machines.playbooks import playbook_directory
from bessemer.machines.power.patient import PatientPower
from bessemer.machines.power.protocol import PowerState
from bessemer.machines.role_options import read_roles
from bessemer.machines.ssh import ShellUnusable, Ssh
from bessemer.phases.configure import find_site_playbook
from bessemer.phases.context import PhaseContext
from bessemer.phases.hosts import build_inventory
from bessemer.phases.preflight_checks import (
    build_result,
    decide_spec_problems,
    decide_unknown_states,
    decide_variable_problems,
)
from bessemer.phases.preflight_problem import Problem

CHECKS = 4
ANSWER_BYTES = 1 << 20
"""Of the check that runs on a host; it says a sentence for each file and directory."""

_log = logging.getLogger(__name__)


def run(phase_input: PhaseInput, context: PhaseContext) -> PhaseResult:
    """Check the spec, the secrets, power control, and the machines that are given."""
    spec = phase_input.spec
    problems = _contain("the spec", lambda: decide_spec_problems(spec))
    render, checkout = not problems, context.directories.playbooks
    problems += _contain("the configuration", lambda: list_configuration_problems(phase_input, checkout, render=render))
    _tell(context, 1, "check power control")
    problems += _contain("power control", lambda: list_power_problems(spec, context))
    _tell(context, 2, "check the boot host")
    problems += _contain("the boot host", lambda: list_boot_host_problems(spec, context.ssh))
    _tell(context, 3, "check the management node")
    problems += _contain("the management node", lambda: list_management_problems(spec, context))
    _tell(context, CHECKS, "done")
    return build_result(problems)


def _contain(what: str, check: Callable[[], list[Problem]]) -> list[Problem]:
    """Make a check that fails one more problem, so that what the others find is told whatever happens in it."""
    try:
        return check()
    except BessemerError as error:
        return [_problem(error)]
    except Exception as error:  # noqa: BLE001  a defect of one check must not hide what the user can mend
        _log.exception("the check of %s failed", what)
        text = f"the check of {what} failed by a defect of Bessemer ({type(error).__name__}), see the log"
        return [Problem(INTERNAL_ERROR, text, retryable=True)]


def list_configuration_problems(phase_input: PhaseInput, checkout: Path, *, render: bool) -> list[Problem]:
    """Check the site's playbooks and the roles of services; render the inventory, if the spec is consistent."""
    spec = phase_input.spec
    own = spec.configuration.playbooks
    problems: list[Problem] = []
    for field, name in (("management", own.management), ("services", own.services)) if own else ():
        try:
            find_site_playbook(checkout, name, field)
        except Invalid as error:
            problems.append(_problem(error))
    folders = (playbook_directory() / "roles", checkout / "roles")
    missing = [name for name in spec.services if not any((folder / name).is_dir() for folder in folders)]
    if missing:
        names = ", ".join(missing)
        problems.append(
            Problem("RoleMissing", f"spec.services: neither Bessemer nor the repository has a role {names}")
        )
    found = decide_variable_problems(spec, read_roles(playbook_directory() / "roles"))
    if render and all(problem.hint for problem in found):
        build_inventory(phase_input, ())
    return problems + found


def list_power_problems(spec: ClusterBuildSpec, context: PhaseContext) -> list[Problem]:
    """Ask power control for every machine that may be switched."""
    try:
        hosts = list(parse_hostlist(spec.compute.hosts))
        may_fail = len(hosts) - compute_min_ready(spec)
    except (ValueError, Invalid):
        return []  # told by the checks of the spec
    if spec.management.provision or spec.on_delete is OnDelete.POWER_OFF:
        hosts.insert(0, spec.management.host)
    power = PatientPower(context.power, context.clock)
    try:
        states = power.state(hosts)
    except BessemerError as error:
        return [_problem(error, "spec.power.powerman: ")]
    unknown = [host for host in hosts if states[host] is PowerState.UNKNOWN]
    return decide_unknown_states(unknown, power.explain(unknown), spec.management.host, may_fail)


def list_boot_host_problems(spec: ClusterBuildSpec, ssh: Ssh) -> list[Problem]:
    """Log in to the boot host; look for Python, directories that can be written, and all files that will be fetched."""
    if spec.boot_host is None:
        return []
    urls = _urls(spec)
    return _check_host(ssh, build_boot_host_target(spec), "spec.bootHost", urls, [spec.boot_host.boot_directory])


def list_management_problems(spec: ClusterBuildSpec, context: PhaseContext) -> list[Problem]:
    """Check the build's keys; log in to a management node that is installed already, and look from there."""
    planted = context.secrets.host_key(spec.management.host).public
    if spec.management.provision:
        return []
    urls = [] if spec.boot_host else _urls(spec)
    return _check_host(context.ssh, build_management_target(spec, planted), "spec.management", urls, [])


def _check_host(ssh: Ssh, target: SshTarget, field: str, urls: list[str], directories: list[str]) -> list[Problem]:
    script = files("bessemer.machines.netboot").joinpath("host_check.py").read_bytes()
    request = {"urls": urls, "directories": directories, "made_directories": [BASE_DIRECTORY]}
    try:
        result = ssh.run(target, f"python3 - {shlex.quote(json.dumps(request))}", script)
    except ShellUnusable as error:
        return [Problem("BootHostUnusable", f"{field}.ssh: {error.message}", retryable=True)]
    except BessemerError as error:
        return [_problem(error, f"{field}.ssh: ")]
    if result.exit_code != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        return [Problem("BootHostUnusable", f"{field}: python3 3.9 or newer is needed: {make_line(last, 200)}")]
    return [
        Problem("BootHostUnusable", f"{field}: {make_line(text, 300)}", retryable=True)
        for text in _parse_answer(result.stdout)
    ]


def _parse_answer(output: str) -> list[str]:
    """Read the list that the check printed; where it is none, that itself is what is wrong."""
    try:
        found = decode_json(output, most_bytes=ANSWER_BYTES)
    except Unreadable as error:
        return [f"the answer of its python3 can't be read: {error}: {make_line(output, 100)}"]
    if isinstance(found, list) and all(isinstance(text, str) for text in found):
        return found
    return [f"the answer of its python3 is no list of texts: {make_line(output, 100)}"]


def _urls(spec: ClusterBuildSpec) -> list[str]:
    installs = [spec.compute.install]
    if spec.management.provision and spec.management.install:
        installs.insert(0, spec.management.install)
    return list(dict.fromkeys(url for use in installs for url in (use.kernel, *use.initrds, use.image)))


def _problem(error: BessemerError, prefix: str = "") -> Problem:
    return Problem(error.reason, prefix + error.message, retryable=not isinstance(error, Invalid))


def _tell(context: PhaseContext, done: int, message: str) -> None:
    context.progress.post(Progress(message=message, done=done, total=CHECKS))

"""The Ansible client: run a playbook on an inventory and return the result for each host.

The real one is ansible-runner. Host keys are always checked: Ansible connects with the configuration of ``ssh_files``
and nothing else. Secrets are files of mode 0600 in scratch; on the command line stand their names only.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import ansible_runner
import pexpect
from ansible_runner.exceptions import AnsibleRunnerException

from bessemer.api.reasons import PLAYBOOK_MISSING, PLAYBOOK_TIMEOUT
from bessemer.errors import Invalid, Retry
from bessemer.foreign import make_line
from bessemer.machines.ansible_events import PlaybookEvents
from bessemer.machines.ansible_inventory import render_inventory
from bessemer.machines.clock import Clock, Terminated
from bessemer.machines.hostlists import build_hostlist
from bessemer.machines.playbooks import playbook_directory
from bessemer.machines.ssh_files import SshFiles

MAX_FORKS = 32
"""Hosts dealt with at once; each costs some 15 MiB (measured), and all must fit into the phase pod's memory limit."""
CONTROL_PERSIST_SECONDS = 60
JUMP_SECONDS = 30
POLL_SECONDS = 1
"""How often ansible-runner looks whether it must stop while Ansible says nothing."""
TAIL_CHARACTERS = 1000
TOLD_BITS = 2 | 4 | 8
"""Of Ansible's exit code: hosts failed, were unreachable, or ended a play for the others. Any other code means that it
came to no proper end, though it may have counted hosts before.
Source: https://github.com/ansible/ansible/blob/devel/lib/ansible/executor/task_queue_manager.py"""
_RUNNER_ERRORS = (AnsibleRunnerException, pexpect.ExceptionPexpect, OSError, ValueError, RecursionError)
"""Errors that ansible-runner raises: its own, of the terminal, of a full scratch volume, and of an event that is cut
off or nests without end."""

_log = logging.getLogger(__name__)


class HostState(StrEnum):
    """How a playbook ended for one host."""

    OK = "Ok"
    FAILED = "Failed"
    UNREACHABLE = "Unreachable"


@dataclass(frozen=True)
class HostOutcome:
    """What became of one host, and which task failed with what if it isn't well."""

    state: HostState
    message: str = ""


@dataclass(frozen=True)
class PlaybookOutcome:
    """What became of the hosts that a playbook dealt with."""

    hosts: Mapping[str, HostOutcome]

    def failed(self) -> dict[str, HostOutcome]:
        """Return the hosts for which it failed."""
        return {host: outcome for host, outcome in self.hosts.items() if outcome.state is not HostState.OK}


@dataclass(frozen=True)
class PlaybookRun:
    """A playbook run."""

    playbook: Path
    inventory: Mapping[str, Any]
    """As Ansible's YAML plugin reads it; all its texts are data, no template in them is rendered."""
    hosts: int
    """How many hosts there are at most."""
    timeout_seconds: float
    secret_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Files that only this run may read, by the variable that names them."""
    roles: Sequence[Path] = ()
    """Folders with roles beyond those beside the playbook."""


class Ansible(Protocol):
    """Runs playbooks; repeating one that has succeeded changes nothing."""

    def run(self, run: PlaybookRun, report: Callable[[str], None]) -> PlaybookOutcome:
        """Run a playbook; ``report`` is told each task as it starts.

        Raises:
            Invalid: there is no such playbook.
            Retry: Ansible itself failed, before or instead of any host.
            Terminated: the pod is being stopped.
        """
        ...


class AnsibleRunner:
    """Ansible by ansible-runner; its output goes to the pod's log.

    Args:
        scratch: a folder to work in.
        ssh_files: how OpenSSH reaches the hosts.
        jump: host name of the machine that connections to others go through.
        clock: tells when the pod is being stopped.
    """

    def __init__(self, scratch: Path, ssh_files: SshFiles, jump: str, clock: Clock) -> None:
        self._scratch = scratch
        self._ssh_files = ssh_files
        self._jump = jump
        self._clock = clock

    def run(self, run: PlaybookRun, report: Callable[[str], None]) -> PlaybookOutcome:
        """Run a playbook; see Ansible."""
        if not run.playbook.is_file():
            raise Invalid(PLAYBOOK_MISSING, f"there is no playbook {run.playbook.name}")
        directory = self._scratch / "ansible" / run.playbook.stem
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700, parents=True)
        try:
            config = self._write_ssh_config()
            started = self._clock.now()
            self._open_jump(config)
            left = run.timeout_seconds - (self._clock.now() - started)
            run = dataclasses.replace(run, timeout_seconds=left)
            events = PlaybookEvents(report)
            return self._build_outcome(run, self._run(run, directory, config, events), events)
        except _RUNNER_ERRORS as error:
            said = f"{type(error).__name__}: {make_line(str(error), TAIL_CHARACTERS)}"
            raise Retry("PlaybookBroken", f"{run.playbook.name}: ansible-runner failed: {said}") from error
        finally:
            shutil.rmtree(directory, ignore_errors=True)  # it holds the secrets

    def _run(self, run: PlaybookRun, directory: Path, ssh_config: Path, events: PlaybookEvents) -> Any:
        inventory, secrets = directory / "hosts.yml", directory / "secrets.json"
        inventory.write_text(render_inventory(run.inventory))
        _write_secret(secrets, json.dumps(self._write_secret_files(run, directory)).encode())
        _log.info("run playbook %s", run.playbook.name)
        return ansible_runner.run(
            private_data_dir=str(directory),
            playbook=str(run.playbook.resolve()),
            inventory=str(inventory),
            cmdline=f"-e @{secrets} --forks {max(1, min(run.hosts, MAX_FORKS))}",
            envvars=self._build_environment(run, ssh_config),
            settings={"job_timeout": max(1, int(run.timeout_seconds)), "pexpect_timeout": POLL_SECONDS},
            event_handler=events.handle,
            cancel_callback=self._is_stopping,
        )

    def _build_outcome(self, run: PlaybookRun, runner: Any, events: PlaybookEvents) -> PlaybookOutcome:
        if runner.status == "canceled":
            raise Terminated
        if runner.status == "timeout":
            seconds = f"{run.timeout_seconds:.0f} s"
            raise Retry(PLAYBOOK_TIMEOUT, f"{run.playbook.name} didn't end within {seconds}: {events.task}")
        told = events.failed or events.unreachable
        if not events.ended or runner.rc is None or runner.rc & ~TOLD_BITS or (runner.rc and not told):
            with runner.stdout as output:
                tail = make_line(output.read()[-TAIL_CHARACTERS:], TAIL_CHARACTERS)
            raise Retry("PlaybookBroken", f"{run.playbook.name} {_say_end(runner.rc)}: {tail}")
        states = dict.fromkeys(events.failed, HostState.FAILED)
        states |= dict.fromkeys(events.unreachable, HostState.UNREACHABLE)
        # A host may have a message and be well: the playbook has dealt with the failure.
        bad = {host: HostOutcome(state, events.messages.get(host, "")) for host, state in states.items()}
        return PlaybookOutcome({**dict.fromkeys(events.seen, HostOutcome(HostState.OK)), **bad})

    def _build_environment(self, run: PlaybookRun, ssh_config: Path) -> dict[str, str]:
        ours = playbook_directory()
        control = f"-o ControlMaster=auto -o ControlPersist={CONTROL_PERSIST_SECONDS}s"
        roles = [str(ours / "roles"), *(str(folder) for folder in run.roles)]
        return {
            "ANSIBLE_CONFIG": str(ours / "ansible.cfg"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner's own default is False
            "ANSIBLE_HOME": str(self._scratch / "ansible-home"),
            "ANSIBLE_NOCOLOR": "True",
            "ANSIBLE_LOCAL_TEMP": str(self._scratch / "ansible-local"),
            "ANSIBLE_PIPELINING": "True",
            # As in the configuration of SSH. Where Ansible does not know it, `become` runs sudo, which need not be
            # installed. Source: ansible.plugins.action.ActionBase._low_level_execute_command
            "ANSIBLE_REMOTE_USER": "root",
            "ANSIBLE_ROLES_PATH": ":".join(roles),
            "ANSIBLE_SSH_ARGS": f"-F {ssh_config} {control} -o ControlPath={self._control_path()}",
            "ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS": "ignore",  # role sets of others have names with hyphens
            "HOME": str(self._scratch),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        }

    def _write_secret_files(self, run: PlaybookRun, directory: Path) -> dict[str, str]:
        files = {variable: directory / variable for variable in run.secret_files}
        for variable, file in files.items():
            _write_secret(file, run.secret_files[variable])
        return {variable: str(file) for variable, file in files.items()}

    def _write_ssh_config(self) -> Path:
        """Write a configuration in which jumps too share one connection to the machine they go through.

        Otherwise each compute node would cost one login there, and many at once exceed sshd's MaxStartups.
        """
        self._control_path().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = self._ssh_files.config.with_name("ansible_ssh_config")
        lines = [
            f"Host {self._jump}",
            "  ControlMaster auto",
            f"  ControlPersist {CONTROL_PERSIST_SECONDS}",
            f"  ControlPath {self._control_path()}",
            "Host *",
            f"  Include {self._ssh_files.config}",
        ]
        config.write_text("\n".join(lines) + "\n")
        return config

    def _open_jump(self, ssh_config: Path) -> None:
        """Open the shared connection before many need it at once; if it fails, Ansible will say why."""
        try:
            subprocess.run(
                ["ssh", "-F", str(ssh_config), self._jump, "true"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=JUMP_SECONDS,
                check=True,
            )
        except (subprocess.SubprocessError, OSError) as error:
            _log.warning("%s: no connection for jumps: %s", self._jump, type(error).__name__)

    def _control_path(self) -> Path:
        """Name the sockets of shared connections by the name of the host key, so that none serves two machines."""
        return self._scratch / "cp" / "%k"

    def _is_stopping(self) -> bool:
        try:
            self._clock.sleep(0)
        except Terminated:
            return True
        return False


def build_failure_message(failed: Mapping[str, HostOutcome]) -> str:
    """Return which hosts failed at what, those that failed alike together: ``oxygen[2-3]: Install munge: ...``."""
    alike: dict[str, list[str]] = {}
    for host, outcome in failed.items():
        alike.setdefault(outcome.message or outcome.state.value, []).append(host)
    return "; ".join(f"{_fold(hosts)}: {message}" for message, hosts in alike.items())


def _fold(hosts: Sequence[str]) -> str:
    """Fold names; those in quotes, which are no machines' (see ``name_host``), are listed behind the others."""
    machines = [host for host in hosts if "'" not in host and '"' not in host]
    return ",".join(
        [*([build_hostlist(machines)] if machines else []), *(host for host in hosts if host not in machines)]
    )


def _say_end(exit_code: int | None) -> str:
    return "was killed" if exit_code is None else f"ended with exit code {exit_code}"


def _write_secret(file: Path, content: bytes) -> None:
    """Write a file that is never readable by other users."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(content)

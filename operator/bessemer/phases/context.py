"""The context of a phase: its clients for outside systems, each created on first use.

Tests make a context of fakes by setting the attributes.
"""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bessemer.api.phase_contract import (
    INPUT_DIRECTORY,
    PLAYBOOK_DIRECTORY,
    SCRATCH_DIRECTORY,
    SECRET_DIRECTORY,
    SSH_KEY_DIRECTORY,
    PhaseInput,
)
from bessemer.machines.ansible import Ansible, AnsibleRunner
from bessemer.machines.clock import Clock, SystemClock
from bessemer.machines.machine import SshTarget, parse_compute_machines
from bessemer.machines.netboot.server import BootServer
from bessemer.machines.netboot.ssh_server import BootEndpoint, SshBootServer
from bessemer.machines.power.powerman import Powerman
from bessemer.machines.power.protocol import Power
from bessemer.machines.secrets import BuildSecrets, read_progress_token, read_secrets
from bessemer.machines.slurm import Slurm, SshSlurm
from bessemer.machines.ssh import ParamikoSsh, Ssh
from bessemer.machines.ssh_files import build_ssh_targets, write_ssh_files
from bessemer.phases.progress import HttpProgress, NoProgress, ProgressSink

POOL_THREADS = 16
INSTALLER_FILE = "/usr/share/bessemer/installer.cpio.gz"
"""Where the image has the installer; the variable BESSEMER_INSTALLER overrides it."""


@dataclass(frozen=True)
class Directories:
    """Where the pod's volumes are mounted."""

    input: Path = Path(INPUT_DIRECTORY)
    secret: Path = Path(SECRET_DIRECTORY)
    ssh_key: Path = Path(SSH_KEY_DIRECTORY)
    playbooks: Path = Path(PLAYBOOK_DIRECTORY)
    scratch: Path = Path(SCRATCH_DIRECTORY)


class PhaseContext:
    """The clients of one phase attempt."""

    def __init__(self, phase_input: PhaseInput, directories: Directories, clock: Clock | None = None) -> None:
        self.phase_input = phase_input
        self.directories = directories
        self.clock: Clock = clock or SystemClock()

    @cached_property
    def secrets(self) -> BuildSecrets:
        """The build's secrets; raises Invalid where they can't be read."""
        return read_secrets(self.phase_input, self.directories.secret, self.directories.ssh_key)

    @cached_property
    def power(self) -> Power:
        """Power control of all machines."""
        powerman = self.phase_input.spec.power.powerman
        return Powerman(powerman.address, powerman.port, powerman.timeout_seconds)

    @cached_property
    def ssh(self) -> Ssh:
        """SSH to all machines, with the build's login key."""
        return ParamikoSsh(self.secrets.login_key.private)

    @cached_property
    def pool(self) -> Executor:
        """Threads for looking at many machines at once."""
        return ThreadPoolExecutor(max_workers=POOL_THREADS, thread_name_prefix="pool")

    @cached_property
    def progress(self) -> ProgressSink:
        """Where progress is told."""
        url = self.phase_input.progress_url
        return HttpProgress(url, read_progress_token(self.directories.secret)) if url else NoProgress()

    @cached_property
    def targets(self) -> dict[str, SshTarget]:
        """How SSH reaches each machine, by name."""
        spec = self.phase_input.spec
        targets = build_ssh_targets(spec, self.secrets, parse_compute_machines(spec))
        return {target.name: target for target in targets}

    @cached_property
    def ansible(self) -> Ansible:
        """Ansible for the management node and, through it, the compute nodes."""
        scratch = self.directories.scratch
        files = write_ssh_files(scratch / "ssh", self.targets.values(), self.secrets)
        return AnsibleRunner(scratch, files, self.phase_input.spec.management.host, self.clock)

    @cached_property
    def slurm(self) -> Slurm:
        """Slurm on the management node."""
        return SshSlurm(self.ssh, self.targets[self.phase_input.spec.management.host], self.targets)

    def boot_server(self, endpoint: BootEndpoint) -> BootServer:
        """Return the boot server at an endpoint."""
        installer = Path(os.environ.get("BESSEMER_INSTALLER", INSTALLER_FILE))
        return SshBootServer(self.ssh, endpoint, installer)

    def close(self) -> None:
        """Close the clients that were created."""
        for name in ("progress", "ssh"):
            if name in self.__dict__:
                self.__dict__[name].close()
        if "pool" in self.__dict__:
            self.pool.shutdown(wait=False, cancel_futures=True)

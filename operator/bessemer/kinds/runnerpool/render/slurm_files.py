"""Additional files of a runner of the executor Slurm: programs, and the SSH configuration for the cluster. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from bessemer.api.runnerpool.executors import SlurmExecutor

EXECUTOR_FILE = "slurm-executor.sh"
JOB_FILE = "slurm-job.sh"
SETTINGS_FILE = "slurm-settings"
SSH_CONFIG_FILE = "slurm-ssh-config"
KNOWN_HOSTS_FILE = "slurm-known-hosts"
IDENTITY_FILE = "slurm-identity"
AGENT_SOCKET = "slurm-agent"
FILES = (EXECUTOR_FILE, JOB_FILE, SETTINGS_FILE, SSH_CONFIG_FILE, KNOWN_HOSTS_FILE, IDENTITY_FILE)
STAGES = ("config", "prepare", "run", "cleanup")
"""Source: https://docs.gitlab.com/runner/executors/custom/#stages"""


@dataclass(frozen=True)
class SlurmHost:
    """The host on which jobs are submitted."""

    address: str
    port: int
    host_key: str
    """Type and base64 in OpenSSH format."""


def build_slurm_files(executor: SlurmExecutor, host: SlurmHost, owner: str, home: str, identity: str) -> dict[str, str]:
    """Return the files by name.

    ``owner`` distinguishes the directories of this pool's jobs from those of other pools; ``identity`` is the private
    key in OpenSSH format.
    """
    directory = files("bessemer.kinds.runnerpool.render").joinpath("slurm")
    settings = {"BUILDS": executor.builds_directory.rstrip("/"), "OWNER": owner}
    lines = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    lines.append(f"OPTIONS=({' '.join(map(shlex.quote, executor.options))})")
    return {
        EXECUTOR_FILE: directory.joinpath("executor.sh").read_text(),
        JOB_FILE: directory.joinpath("job.sh").read_text(),
        SETTINGS_FILE: "".join(f"{line}\n" for line in lines),
        SSH_CONFIG_FILE: "".join(f"{key} {value}\n" for key, value in _build_ssh_config(executor, host, home).items()),
        KNOWN_HOSTS_FILE: f"cluster {host.host_key}\n",
        IDENTITY_FILE: identity,
    }


def build_custom_section(home: str) -> dict[str, object]:
    """Return the section of config.toml that calls our programs."""
    section: dict[str, object] = {}
    for stage in STAGES:
        section |= {f"{stage}_exec": "/bin/bash", f"{stage}_args": [f"{home}/{EXECUTOR_FILE}", stage]}
    return section


def _build_ssh_config(executor: SlurmExecutor, host: SlurmHost, home: str) -> Mapping[str, object]:
    """Return the options of OpenSSH's client. Source: ssh_config(5)."""
    return {
        "Host": "cluster",
        "HostName": host.address,
        "HostKeyAlias": "cluster",
        "Port": host.port,
        "User": executor.user,
        "IdentityAgent": f"{home}/{AGENT_SOCKET}",  # it has only this key, see executor.sh
        "IdentityFile": "none",
        "UserKnownHostsFile": f"{home}/{KNOWN_HOSTS_FILE}",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": 15,
        "ConnectionAttempts": 3,
        "ServerAliveInterval": 15,  # a connection without an answer for a minute is considered lost
        "ServerAliveCountMax": 4,
        "LogLevel": "ERROR",
    }

"""Files for programs that use OpenSSH, such as Ansible: known_hosts, the private key and a client configuration.

Host keys are looked up by host name (``HostKeyAlias``), so that it doesn't matter through which address or port a
machine is reached. Checking is strict: a key that is not in the file is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bessemer.api.clusterbuild.spec import ClusterBuildSpec
from bessemer.machines.machine import (
    Machine,
    SshTarget,
    build_boot_host_target,
    build_compute_target,
    build_management_target,
)
from bessemer.machines.secrets import BuildSecrets

CONNECT_TIMEOUT_SECONDS = 10
KEEPALIVE_SECONDS = 15


@dataclass(frozen=True)
class SshFiles:
    """Where the files lie; ``ssh -F <config> <host name>`` needs nothing else."""

    config: Path
    known_hosts: Path
    private_key: Path


def build_ssh_targets(
    spec: ClusterBuildSpec, secrets: BuildSecrets, computes: Iterable[Machine]
) -> tuple[SshTarget, ...]:
    """List the boot host (if there is one), the management node and the compute nodes as SSH reaches them."""
    management = build_management_target(spec, secrets.host_key(spec.management.host).public)
    boot_hosts = [build_boot_host_target(spec)] if spec.boot_host else []
    nodes = [build_compute_target(node, secrets.host_key(node.host).public, management) for node in computes]
    return (*boot_hosts, management, *nodes)


def render_known_hosts(targets: Iterable[SshTarget]) -> str:
    """Render a known_hosts file with one line for each machine, under its host name."""
    return "".join(f"{target.name} {target.host_key}\n" for target in targets)


def render_ssh_config(targets: Iterable[SshTarget], known_hosts: Path, private_key: Path) -> str:
    """Render an OpenSSH client configuration with one block for each machine.

    Source: https://man.openbsd.org/ssh_config
    """
    blocks = [_render_host(target) for target in targets]
    common = [
        "Host *",
        f"  UserKnownHostsFile {known_hosts}",
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
        "  UpdateHostKeys no",
        f"  IdentityFile {private_key}",
        "  IdentitiesOnly yes",
        "  PreferredAuthentications publickey",
        "  BatchMode yes",
        f"  ConnectTimeout {CONNECT_TIMEOUT_SECONDS}",
        f"  ServerAliveInterval {KEEPALIVE_SECONDS}",
        "  ServerAliveCountMax 4",
    ]
    return "\n".join([*blocks, *common]) + "\n"


def write_ssh_files(directory: Path, targets: Iterable[SshTarget], secrets: BuildSecrets) -> SshFiles:
    """Write the three files into a directory that is made if it is missing; the private key gets mode 0600."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    targets = tuple(targets)
    files = SshFiles(directory / "ssh_config", directory / "known_hosts", directory / "id_ed25519")
    _write(files.private_key, secrets.login_key.private)
    _write(files.known_hosts, render_known_hosts(targets))
    _write(files.config, render_ssh_config(targets, files.known_hosts, files.private_key))
    return files


def _render_host(target: SshTarget) -> str:
    lines = [
        f"Host {target.name}",
        f"  HostName {target.address}",
        f"  Port {target.port}",
        f"  User {target.user}",
        f"  HostKeyAlias {target.name}",
    ]
    return "\n".join([*lines, f"  ProxyJump {target.jump.name}"] if target.jump else lines)


def _write(file: Path, content: str) -> None:
    """Write a file that is never readable by other users."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(content)

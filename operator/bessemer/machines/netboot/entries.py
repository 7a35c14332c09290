"""What is staged for one machine: boot sources, kernel command line, the installer's parameters and planted files.

All pure: from the spec and the build's secrets to the entry that bootd takes (see its ``stage``).
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bessemer.api.clusterbuild.spec import ClusterBuildSpec, Install, InstallMethod
from bessemer.api.reasons import INVALID_SPEC
from bessemer.errors import Invalid
from bessemer.machines.machine import Machine
from bessemer.machines.netboot.server import BASE_DIRECTORY, BootEntry
from bessemer.machines.secrets import BuildSecrets

MANAGEMENT_BOOT_PORT = 8099
"""TCP port of the boot daemon on the management node; role boot_server is told."""
_MANAGEMENT_FILES = f"{BASE_DIRECTORY}/files"
"""Directory on the management node into which role boot_server downloads images and kernels."""


@dataclass(frozen=True)
class BootSources:
    """Where machines of one kind get what they boot and install from, and who gives it to them."""

    server: str
    """Base URL of the boot daemon, as the machines see it."""
    image: str
    """URL of the root file system, as the machines see it."""
    kernel: str
    """URL, or path on the boot server."""
    initrds: tuple[str, ...]
    """URLs or paths, the site's own; the installer comes after them."""
    script_directory: str | None = None
    """Directory of the site's web server where a machine's script is looked for; None where DHCP points to bootd."""


def build_boot_host_sources(spec: ClusterBuildSpec, install: Install) -> BootSources:
    """Return where the management node boots from: a given boot host, with URLs as they stand in the spec."""
    if spec.boot_host is None:
        raise Invalid(INVALID_SPEC, "spec.bootHost is required")
    return BootSources(
        server=f"http://{spec.boot_host.address}:{spec.boot_host.callback_port}",
        image=install.image,
        kernel=install.kernel,
        initrds=tuple(install.initrds),
        script_directory=spec.boot_host.boot_directory,
    )


def build_management_sources(spec: ClusterBuildSpec) -> BootSources:
    """Return where compute nodes boot from: the management node, which has fetched all files once."""
    install = spec.compute.install
    address = spec.management.cluster_interface.address.partition("/")[0]
    server = f"http://{address}:{MANAGEMENT_BOOT_PORT}"
    return BootSources(
        server=server,
        image=f"{server}/files/{parse_file_name(install.image)}",
        kernel=f"{_MANAGEMENT_FILES}/{parse_file_name(install.kernel)}",
        initrds=tuple(f"{_MANAGEMENT_FILES}/{parse_file_name(url)}" for url in install.initrds),
    )


def compute_install_digest(machine: Machine, install: Install) -> str:
    """Return a short digest of what is installed where: a finished install counts only for the same one."""
    text = "\n".join([machine.host, machine.address, str(machine.mac), install.model_dump_json()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class InstallKind:
    """What all machines of one phase have in common: enough to make a boot entry for any of them."""

    build: str
    """UID of the build."""
    phase: str
    phase_attempt: int
    install: Install
    sources: BootSources
    secrets: BuildSecrets

    def digest(self, machine: Machine) -> str:
        """Return the digest of a machine's install."""
        return compute_install_digest(machine, self.install)

    def label(self, machine: Machine, node_attempt: int) -> str:
        """Return the label that the journal shows for one attempt: digest, phase attempt, node attempt."""
        return f"{self.digest(machine)}-{self.phase_attempt}-{node_attempt}"

    def build_entry(self, machine: Machine, node_attempt: int, installer: str) -> BootEntry:
        """Build the boot entry of one attempt to install a machine.

        Args:
            machine: which.
            node_attempt: number of the attempt; 0: none begins, the machine runs and gets what its next boot needs.
            installer: the installer's path on the boot server.
        """
        if machine.mac is None:
            raise Invalid(INVALID_SPEC, f"{machine.host} has no MAC address to boot from")
        directory = self.sources.script_directory
        script = f"{directory.rstrip('/')}/{machine.mac.replace(':', '-')}.ipxe" if directory else None
        return {
            "build": self.build,
            "host": machine.host,
            "mac": machine.mac,
            "address": machine.address,
            "attempt": self.label(machine, node_attempt),
            "token": self.secrets.install_token(machine.host, self.phase, self.phase_attempt, node_attempt),
            "persistent": self.install.method == InstallMethod.STATELESS,
            "armed": node_attempt > 0,
            "boot_events": directory is None,
            "server": self.sources.server,
            "kernel": self.sources.kernel,
            "initrds": [*self.sources.initrds, installer],
            "arguments": list(self.install.kernel_arguments),
            "parameters": {
                "METHOD": str(self.install.method),
                "DISK": self.install.disk,
                "IMAGE": self.sources.image,
                "HOSTNAME": machine.host,
            },
            "files": build_planted_files(machine.host, self.secrets),
            "script": script,
        }


def build_planted_files(host: str, secrets: BuildSecrets) -> list[dict[str, Any]]:
    """List what the installer plants on a machine, so that it is known by its host key and lets us in."""
    key = secrets.host_key(host)
    return [
        _file("/etc/hostname", 0o644, f"{host}\n"),
        _file("/etc/ssh/ssh_host_ed25519_key", 0o600, key.private),
        _file("/etc/ssh/ssh_host_ed25519_key.pub", 0o644, f"{key.public} {host}\n"),
        _file("/root/.ssh/authorized_keys", 0o600, f"{secrets.login_key.public} bessemer\n"),
    ]


def _file(path: str, mode: int, content: str) -> dict[str, Any]:
    return {"path": path, "mode": mode, "content": base64.b64encode(content.encode()).decode()}


def parse_file_name(url: str) -> str:
    """Return the last part of a URL's path: the name of the file on the management node."""
    return posixpath.basename(urlsplit(url).path)

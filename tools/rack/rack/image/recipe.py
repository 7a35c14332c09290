"""What goes into the lab's image: which Debian packages, on which of its roots; no I/O beyond reading this folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LAB = HERE.parent
SUITE = "bookworm"

INIT = ("sysvinit-core", "sysv-rc", "initscripts", "startpar")
"""A real init that works in a process namespace, with the scripts that every service of Debian brings along."""
SYSTEM = (*INIT, "openssh-server", "python3", "iproute2", "ifupdown", "udhcpc", "mount", "kmod", "procps", "netbase")
COMPUTE = (*SYSTEM, "slurmd", "slurm-client", "munge", "chrony", "python3-apt", "sshfs")
RACK = (
    *INIT, "openssh-server", "python3", "iproute2", "ifupdown", "mount", "procps", "netbase", "e2fsprogs",
    "busybox-static", "tini", "dnsmasq", "nginx-light", "powerman",
)  # fmt: skip
"""The pod's own root, which is also the boot host's."""
SERVED = (
    "dnsmasq", "chrony", "munge", "slurmctld", "slurmd", "slurm-client", "powerman", "nginx-light", "ipxe",
    "nftables", "sshfs", "fuse3",
    "nfs-kernel-server", "nfs-common", "python3-apt", "python3-yaml", "rsync", "sudo", "acl", "ca-certificates",
    "logrotate", "rsyslog", "cron", "locales", "gpg", "bsdextrautils", "curl",
)  # fmt: skip
"""What machines can install from the boot host's package mirror; their dependencies come along."""
KERNEL = "linux-image-cloud-amd64"
NETWORK_BOOT_PROGRAM = "usr/lib/ipxe/undionly.kpxe"
"""Where the package `ipxe` keeps the program that PXE firmware fetches first."""


@dataclass(frozen=True)
class Root:
    """A root file system made of Debian packages."""

    name: str
    packages: tuple[str, ...]
    overlays: tuple[Path, ...] = ()
    """Folders of files laid over it, in this order."""


DAEMON = LAB / "daemon"
"""What runs in the pod."""
MACHINE_FILES = HERE / "files" / "machine"
BOOT_HOST_FILES = HERE / "files" / "boothost"

MANAGEMENT_ROOT = Root("management", SYSTEM, (MACHINE_FILES,))
COMPUTE_ROOT = Root("compute", COMPUTE, (MACHINE_FILES,))
RACK_ROOT = Root("rack", RACK)
"""Its files are in a separate layer, which changes often."""


def compute_digest(*parts: object, files: Iterable[Path] = ()) -> str:
    """Return twelve hexadecimal digits that change with any of the parts or the files' names, modes or contents."""
    digest = hashlib.sha256(repr((SUITE, parts)).encode())
    for file in sorted(files):
        digest.update(f"{file.relative_to(LAB)} {file.stat().st_mode:o}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def list_files(folder: Path) -> list[Path]:
    """List the files under a folder, without what Python leaves beside its sources."""
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]

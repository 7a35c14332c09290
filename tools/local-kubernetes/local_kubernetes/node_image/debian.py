"""Root file systems from Debian packages, by mmdebstrap(1)."""

from collections.abc import Sequence
from pathlib import Path

from local_kubernetes.binaries.packages import SUITE, debian_mirror
from local_kubernetes.commands import run

BUILD_SECONDS = 900
"""For a slow mirror; 40 s from a near one."""
UNWANTED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
NODE_PACKAGES = (
    "systemd", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod", "libseccomp2",
    "pigz", "e2fsprogs", "bash", "ca-certificates", "jq", "procps", "socat", "runc", "containernetworking-plugins",
)  # fmt: skip
"""Those of kind's own image (images/base/Dockerfile) but for network storage, and what that image builds from source.

Debian 12 has systemd 252; later ones do not run on a machine with cgroup version 1.
"""


def create_node_root(root: Path) -> None:
    """Make the root of a node."""
    run_mmdebstrap(root, "minbase", NODE_PACKAGES)


def create_packages(root: Path, packages: Sequence[str]) -> None:
    """Unpack packages with what they depend on, and run none of their scripts."""
    run_mmdebstrap(root, "extract", packages)


def run_mmdebstrap(root: Path, variant: str, packages: Sequence[str]) -> None:
    """Make a folder with a root file system."""
    options = [
        "--quiet",
        "--mode=root",
        "--format=directory",
        f"--variant={variant}",
        f"--include={','.join(packages)}",
    ]
    options += [f"--dpkgopt=path-exclude={path}" for path in UNWANTED]
    run(["nice", "mmdebstrap", *options, SUITE, root, debian_mirror()], timeout=BUILD_SECONDS)

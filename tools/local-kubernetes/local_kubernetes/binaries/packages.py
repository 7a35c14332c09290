"""Debian packages that clusters need, installed when their programs are missing, and where packages come from."""

from collections.abc import Mapping
from pathlib import Path

from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError, announce

SUITE = "bookworm"
"""The release of Debian that images are made of."""
UPDATE_SECONDS = 300
NEEDED: dict[str, str] = {
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "nftables": "/usr/sbin/nft",
    "iptables": "/usr/sbin/iptables",
    "iproute2": "/usr/sbin/ip",
    "busybox-static": "/bin/busybox",
}
"""Package to one file of it that we use. containerd runs containers by runc and wires them by the CNI plugins;
kube-proxy programs nft; the portmap plugin programs iptables; busybox is the sandbox image."""


NODE_IMAGE_NEEDED: dict[str, str] = {"mmdebstrap": "/usr/bin/mmdebstrap", "busybox-static": "/bin/busybox"}
"""What making the image of kind's nodes needs."""


def install_packages(needed: Mapping[str, str] = NEEDED) -> None:
    """Install what is missing with apt-get; does nothing, and asks nothing of the network, when all is there."""
    missing = [package for package, file in needed.items() if not Path(file).exists()]
    if not missing:
        return
    if not Path("/usr/bin/apt-get").exists():
        raise ClusterError(f"needs {', '.join(missing)}, and there is no apt-get here: install them by hand")
    announce(f"installing the Debian packages {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    run([*apt, "update"], timeout=UPDATE_SECONDS, environment=quiet)
    run([*apt, "install", "-y", "--no-install-recommends", *missing], timeout=600, environment=quiet)


def debian_mirror() -> str:
    """Return the URL of the Debian mirror that this machine's apt uses. Raises ClusterError where it has none."""
    for attempt in range(2):
        if attempt:
            run(["apt-get", "update", "-qq"], timeout=UPDATE_SECONDS)
        selection = ["$(REPO_URI)", f"Codename: {SUITE}", "Created-By: Packages"]
        if targets := run(["apt-get", "indextargets", "--format", *selection]).split():
            return targets[0]
    raise ClusterError(f"apt has no source for Debian {SUITE}: add one to /etc/apt/sources.list, see sources.list(5)")

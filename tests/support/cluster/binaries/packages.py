"""Debian packages a local cluster needs: installed when their programs are missing."""

from pathlib import Path

from tests.support.cluster.commands import run
from tests.support.cluster.errors import ClusterError, announce

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


def install_packages() -> None:
    """Install what is missing with apt-get; does nothing, and asks nothing of the network, when all is there."""
    missing = [package for package, file in NEEDED.items() if not Path(file).exists()]
    if not missing:
        return
    if not Path("/usr/bin/apt-get").exists():
        raise ClusterError(f"needs {', '.join(missing)}, and there is no apt-get here: install them by hand")
    announce(f"installing the Debian packages {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    run([*apt, "update"], timeout=300, environment=quiet)
    run([*apt, "install", "-y", "--no-install-recommends", *missing], timeout=600, environment=quiet)

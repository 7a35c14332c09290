"""A boot server and an installer of the plainest kind: what the rack's own tests boot, and nothing of the product."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rack.lab import Lab

HERE = Path(__file__).parent
CLUSTER_INTERFACE = "auto eth1\niface eth1 inet static\n    address 10.141.0.1/16\n"
PREPARE_MANAGEMENT = """set -e
printf '%s' "$INTERFACE" > /etc/network/interfaces.d/cluster
ifup eth1
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 'deb [trusted=yes] http://10.77.0.1/debian ./' > /etc/apt/sources.list
apt-get update -qq
mkdir -p /etc/dnsmasq.d
printf '%s' "$DNSMASQ" > /etc/dnsmasq.d/cluster.conf
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends dnsmasq ipxe
"""


def prepare_management(lab: Lab) -> None:
    """Make the installed management machine a DHCP and TFTP server and a router for the compute nodes."""
    lines = [
        "port=0",
        "interface=eth1",
        "bind-interfaces",
        "dhcp-range=10.141.0.0,static,255.255.0.0",
        "dhcp-option=option:router,10.141.0.1",
    ]
    lines += [
        "dhcp-match=set:ipxe,175",
        "dhcp-boot=tag:!ipxe,undionly.kpxe",
        "dhcp-boot=tag:ipxe,http://10.77.0.1/boot.ipxe",
    ]
    lines += ["enable-tftp", "tftp-root=/usr/lib/ipxe", "no-ping"]
    lines += [f"dhcp-host={mac},10.141.0.{number}" for number, mac in enumerate(lab.macs, 2)]
    variables = [f"INTERFACE={CLUSTER_INTERFACE}", "DNSMASQ=" + "\n".join(lines) + "\n"]
    lab.exec("oxygen1", ["env", *variables, "sh", "-c", PREPARE_MANAGEMENT])


def stage(lab: Lab, macs: Sequence[str]) -> None:
    """Let machines install themselves at their next boot."""
    variables = [f"INIT={(HERE / 'init').read_text()}", f"UDHCPC={(HERE / 'udhcpc').read_text()}"]
    script = (HERE / "stage").read_text()
    lab.boot_host_exec(["env", *variables, "sh", "-c", script, "stage", *(mac.replace(":", "-") for mac in macs)])


def withdraw(lab: Lab, macs: Sequence[str]) -> None:
    """No longer let machines install themselves."""
    lab.boot_host_exec(["rm", "-f", *(f"/srv/http/boot/{mac.replace(':', '-')}.ipxe" for mac in macs)])


def planted_host_key(lab: Lab, mac: str) -> str:
    """Return the host key, as type and base64, that a machine was given."""
    return " ".join(lab.boot_host_exec(["cat", f"/srv/http/plain/{mac.replace(':', '-')}.pub"]).split()[:2])

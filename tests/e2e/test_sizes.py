"""Other sizes and the other install method."""

from __future__ import annotations

import contextlib

import pytest

from local_kubernetes.kubectl import KubectlError
from tests.e2e.conftest import MakeSite
from tests.support.site import Site, condition

pytestmark = pytest.mark.e2e

IMAGES = "http://10.77.0.1/images"


def test_one_stateless_node_runs_from_memory(make_site: MakeSite) -> None:
    site = make_site("stateless", compute_nodes=1)
    install = {"method": "Stateless", "image": f"{IMAGES}/compute.squashfs"}
    site.kubectl.apply(site.build_manifest(compute={"install": install}))
    build = site.wait_until_settled()
    assert condition(build, "Ready")["status"] == "True", build["status"]
    assert runs_from_memory(site)
    assert site.lab.exec("oxygen2", ["python3", "-c", ATTACK]).split() == ["404", "403"]
    key = site.lab.exec("oxygen2", ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])
    boots = site.lab.state()["oxygen2"]["boots"]
    for verb in ("off", "on"):
        site.lab.power(verb, "oxygen2")
    site.kubectl.wait_for("oxygen2 to run again", lambda: runs_from_memory(site), 180, site.explain)
    assert site.lab.state()["oxygen2"]["boots"] == boots + 1
    assert site.lab.exec("oxygen2", ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]) == key


ATTACK = """
import encodings.idna, http.client, os
mac = open("/sys/class/net/eth0/address").read().strip().replace(":", "-")
os.setgid(65534), os.setuid(65534)
for path in (f"/boot/{mac}.ipxe", "/node/a-token-that-was-guessed/config"):
    connection = http.client.HTTPConnection("10.141.0.1", 8099, 30)
    connection.request("GET", path)
    print(connection.getresponse().status)
"""
"""What a user of a node may try, to get the node's host key."""


def runs_from_memory(site: Site) -> bool:
    """Return whether the node's own system runs, by its planted key."""
    with contextlib.suppress(KubectlError):
        site.lab.exec("oxygen2", ["test", "-s", "/etc/ssh/ssh_host_ed25519_key.pub"])
        return site.lab.exec("oxygen2", ["stat", "--file-system", "--format=%T", "/"]).strip() == "overlayfs"
    return False


@pytest.mark.soak
def test_sixteen_nodes(make_site: MakeSite) -> None:
    site = make_site("sixteen", compute_nodes=16)
    site.kubectl.apply(site.build_manifest())
    build = site.wait_until_settled(seconds=1800)
    assert condition(build, "Ready")["status"] == "True", build["status"]
    assert build["status"]["jobs"][0]["nodes"] == "oxygen[2-17]"


@pytest.mark.soak
def test_bare_compute_nodes_install_their_own_packages(make_site: MakeSite) -> None:
    site = make_site("bare", compute_nodes=2)
    site.kubectl.apply(site.build_manifest(compute={"install": {"image": f"{IMAGES}/compute-bare.tar.gz"}}))
    build = site.wait_until_settled(seconds=1800)
    assert condition(build, "Ready")["status"] == "True", build["status"]


@pytest.mark.soak
def test_two_bad_nodes_of_eight_are_named_and_the_build_is_ready(make_site: MakeSite) -> None:
    site = make_site("eight", compute_nodes=8)
    for machine in ("oxygen4", "oxygen7"):
        site.lab.fault(machine, "never-netboots")
    site.kubectl.apply(site.build_manifest(compute={"minReady": "75%"}, deadlines={"netbootSeconds": 30}))
    build = site.wait_until_settled(seconds=1800)
    assert condition(build, "Ready")["status"] == "True", build["status"]
    assert "oxygen[4,7]" in condition(build, "Degraded")["message"]

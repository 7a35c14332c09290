"""Other sizes and the other install method."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import MakeSite
from tests.support.site import condition

pytestmark = pytest.mark.e2e

IMAGES = "http://10.77.0.1/images"


def test_one_stateless_node_runs_from_memory(make_site: MakeSite) -> None:
    site = make_site("stateless", compute_nodes=1)
    install = {"method": "Stateless", "image": f"{IMAGES}/compute.squashfs"}
    site.kubectl.apply(site.build_manifest(compute={"install": install}))
    build = site.wait_until_settled()
    assert condition(build, "Ready")["status"] == "True", build["status"]
    assert site.lab.exec("oxygen2", ["stat", "--file-system", "--format=%T", "/"]).strip() == "overlayfs"


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

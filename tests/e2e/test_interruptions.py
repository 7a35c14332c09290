"""The operator is killed, pods vanish, users abort: nothing is lost and nothing runs twice."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeSite
from tests.support.kubectl import Resource
from tests.support.site import Site, condition

pytestmark = pytest.mark.e2e

PHASES = ("Preflight", "BootManagement", "ConfigureManagement", "BootCompute", "ConfigureServices", "Verify", "Cleanup")
PHASE_SECONDS = 400
RECOVERY_SECONDS = 90
"""For the operator's pod to be started again and to take the lead."""


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site("interruptions", compute_nodes=1)


def phase_pods(site: Site) -> list[Resource]:
    return site.kubectl.items("pods", "--selector", "bessemer.dev/phase")


def running(site: Site, phase: str) -> Resource | None:
    pods = site.kubectl.items("pods", "--selector", f"bessemer.dev/phase={phase}")
    return next((pod for pod in pods if pod["status"].get("phase") == "Running"), None)


def kill_operator(site: Site) -> None:
    """Send SIGKILL to the operator's process, which the node's host sees."""
    (pod,) = [pod for pod in site.system.items("pods") if pod["status"].get("phase") == "Running"]
    uid = pod["metadata"]["uid"]
    pids = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cgroup") if is_operator(path, uid)]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def is_operator(cgroup: Path, uid: str) -> bool:
    """Say whether a process is of a pod and is the operator's, not the sandbox's."""
    try:
        return uid in cgroup.read_text() and b"bessemer" in (cgroup.parent / "cmdline").read_bytes()
    except OSError:
        return False  # it has ended since it was listed


def test_operator_killed_in_every_phase_loses_and_repeats_nothing(site: Site) -> None:
    site.kubectl.apply(site.build_manifest(retries={"phaseAttempts": 1}))
    for phase in PHASES:
        site.kubectl.wait_for(f"{phase} to run", partial(running, site, phase), PHASE_SECONDS, site.explain)
        kill_operator(site)
    build = site.wait_until_settled()
    assert condition(build, "Ready")["status"] == "True", build["status"]
    assert [(phase["name"], phase["attempt"]) for phase in build["status"]["phases"]] == [
        (phase, 1) for phase in PHASES
    ]
    assert sorted(pod["metadata"]["labels"]["bessemer.dev/phase"] for pod in phase_pods(site)) == sorted(PHASES)
    network_boots = [
        event["machine"] for event in site.lab.events() if event["event"] == "boot" and event["source"] == "network"
    ]
    assert sorted(network_boots) == ["oxygen1", "oxygen2"]


def test_deleted_phase_pod_is_counted_and_repeated(site: Site) -> None:
    job = {"name": "slow", "script": "#!/bin/sh\nsleep 15\nhostname\n", "expect": {"output": "oxygen2"}}
    site.kubectl.apply(site.build_manifest(verify={"jobs": [job]}))
    pod = site.kubectl.wait_for("Verify to run", lambda: running(site, "Verify"), 60, site.explain)
    site.kubectl.run("delete", "pod", pod["metadata"]["name"], "--wait=false")
    site.kubectl.wait_for(
        "another attempt",
        lambda: (again := running(site, "Verify")) and again["metadata"]["name"] != pod["metadata"]["name"],
        90,
        site.explain,
    )
    build = site.wait_until_settled()
    verify = next(phase for phase in build["status"]["phases"] if phase["name"] == "Verify")
    assert (verify["state"], verify["attempt"]) == ("Succeeded", 3)


def test_aborted_build_cleans_up_and_says_so(site: Site) -> None:
    job = {"name": "endless", "script": "#!/bin/sh\nsleep 600\n"}
    site.kubectl.apply(site.build_manifest(verify={"jobs": [job]}))
    site.kubectl.wait_for("Verify to run", lambda: running(site, "Verify"), 60, site.explain)
    site.kubectl.run("annotate", "clusterbuild", "oxygen", "bessemer.dev/abort=now")
    build = site.wait_until_settled(seconds=120)
    assert condition(build, "Ready")["reason"] == "Aborted"
    assert "endless" not in site.lab.exec("oxygen1", ["squeue", "--noheader", "--format=%j"])

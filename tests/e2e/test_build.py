"""One build on four compute nodes, from bare metal to a verified job, and what users do with it afterwards.

The tests stand in the order of a build's life: they share one rack, because a build takes minutes.
"""

from __future__ import annotations

import base64
import re
import time
from typing import Any

import pytest

from local_kubernetes.kubectl import Resource
from tests.e2e.conftest import MakeSite
from tests.support.leaks import LeakWatch, list_leaks
from tests.support.site import Site, condition, merge

pytestmark = pytest.mark.e2e

PHASES = ["Preflight", "BootManagement", "ConfigureManagement", "BootCompute", "ConfigureServices", "Verify", "Cleanup"]
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=0\s+unreachable=0\s+failed=0", re.MULTILINE)
CHANGED = re.compile(r"^TASK \[([^\]\n]+)\].*\n(?:(?!TASK).*\n)*?changed: \[(\S+)\]", re.MULTILINE)
ALICE = {"name": "alice", "uid": 2001}
QUIET_SECONDS = 5
"""Long enough for an operator that reacts within a second to have done something wrong."""


@pytest.fixture(scope="module")
def site(make_shared_site: MakeSite) -> Site:
    return make_shared_site("oxygen", compute_nodes=4)


@pytest.fixture(scope="module")
def leak_watch(site: Site) -> LeakWatch:
    return LeakWatch(site)


@pytest.fixture(scope="module")
def built(site: Site, leak_watch: LeakWatch) -> Resource:
    site.kubectl.apply(build_manifest(site))
    return site.wait_until_settled(meanwhile=lambda: leak_watch.look(time.monotonic()))


def build_manifest(site: Site, **changes: Any) -> Resource:
    """The example with homes that are shared by sshfs, and a user who has one."""
    manifest = site.build_manifest(configuration={"sharedHome": "SSHFS", "variables": {"base_accounts": [ALICE]}})
    merge(manifest["spec"], changes)
    return manifest


def attempts(build: Resource) -> dict[str, int]:
    return {phase["name"]: phase["attempt"] for phase in build["status"]["phases"]}


def test_build_is_ready_only_with_a_job_that_ran_on_every_node(built: Resource) -> None:
    assert condition(built, "Ready")["status"] == "True", built["status"]
    (job,) = built["status"]["jobs"]
    assert (job["state"], job["exitCode"], job["passed"]) == ("COMPLETED", 0, True)
    assert job["nodes"] == "oxygen[2-5]"
    assert all(f"oxygen{n}" in job["outputTail"] for n in (2, 3, 4, 5))


def test_every_phase_took_one_attempt_and_says_when(built: Resource) -> None:
    assert attempts(built) == dict.fromkeys(PHASES, 1)
    assert all(
        phase["state"] == "Succeeded" and phase["startTime"] <= phase["endTime"] for phase in built["status"]["phases"]
    )


def test_slurm_itself_says_that_the_nodes_are_idle(site: Site, built: Resource) -> None:
    assert site.lab.exec("oxygen1", ["sinfo", "--noheader", "--format=%N %T"]).split() == ["oxygen[2-5]", "idle"]


def test_a_users_home_is_the_same_on_every_node_and_no_other_users(site: Site, built: Resource) -> None:
    site.lab.exec("oxygen2", ["su", "alice", "-c", "umask 077; echo mine > ~/note"])
    assert site.lab.exec("oxygen3", ["su", "alice", "-c", "cat ~/note"]) == "mine\n"
    assert site.lab.exec("oxygen1", ["stat", "--format=%U %a", "/home/alice/note"]) == "alice 600\n"


def test_every_condition_is_there_and_of_this_generation(built: Resource) -> None:
    conditions = built["status"]["conditions"]
    assert {"Ready", "Progressing", "Degraded", "Paused", "MachinesClaimed"} <= {c["type"] for c in conditions}
    assert {c["observedGeneration"] for c in conditions} == {built["metadata"]["generation"]}
    assert all(c["reason"] for c in conditions)


def test_nothing_staged_is_left_on_the_boot_host(site: Site, built: Resource) -> None:
    assert site.lab.boot_host_exec(["ls", "/srv/http/boot"]).split() == []
    assert "bootd" not in site.lab.boot_host_exec(["ps", "-e", "-o", "args"])


def test_no_secret_is_seen_anywhere_while_building_or_after(site: Site, built: Resource, leak_watch: LeakWatch) -> None:
    assert leak_watch.looks >= len(PHASES)
    assert sorted(leak_watch.leaks) == []
    assert list_leaks(site) == []


def test_a_planted_secret_is_found(site: Site, built: Resource) -> None:
    """The scanner itself works: a token in a ConfigMap is seen."""
    token = site.kubectl.get("secret", "oxygen-bessemer")["data"]["progress-token"]
    site.kubectl.run("create", "configmap", "planted", f"--from-literal=note={base64.b64decode(token).decode()}")
    assert list_leaks(site) == [f"the progress token in configmaps in {site.namespace}"]
    site.kubectl.run("delete", "configmap", "planted")


def test_each_machine_was_installed_once(site: Site, built: Resource) -> None:
    installs = [
        event["machine"] for event in site.lab.events() if event["event"] == "boot" and event["source"] == "network"
    ]
    assert sorted(installs) == ["oxygen1", "oxygen2", "oxygen3", "oxygen4", "oxygen5"]


def test_applying_the_same_again_does_nothing(site: Site, built: Resource) -> None:
    """kubectl may say "configured", as it does not know the API server's defaults within lists; nothing is."""
    pods = {pod["metadata"]["name"] for pod in site.kubectl.items("pods")}
    before = site.get_build()["metadata"]
    site.kubectl.apply(build_manifest(site))
    with pytest.raises(TimeoutError):
        site.kubectl.wait_for(
            "a change", lambda: {pod["metadata"]["name"] for pod in site.kubectl.items("pods")} != pods, QUIET_SECONDS
        )
    after = site.get_build()
    assert (after["metadata"]["generation"], after["status"]) == (before["generation"], built["status"])


def test_changed_verification_runs_only_verification_again(site: Site, built: Resource) -> None:
    job = {
        "name": "uptime",
        "script": "#!/bin/sh\nsrun cat /proc/uptime\n",
        "nodes": "2",
        "expect": {"output": r"\d+\.\d+"},
    }
    site.kubectl.apply(build_manifest(site, verify={"jobs": [job]}))
    build = site.wait_until_settled()
    assert condition(build, "Ready")["status"] == "True", build["status"]
    again = {name for name, attempt in attempts(build).items() if attempt > attempts(built)[name]}
    assert again == {"Verify", "Cleanup"}
    assert [job["name"] for job in build["status"]["jobs"]] == ["uptime"]


def test_a_second_configuration_changes_nothing(site: Site, built: Resource) -> None:
    """Roles are idempotent: a variable that no role takes makes them all run again, and no task reports a change."""
    site.kubectl.apply(build_manifest(site, configuration={"variables": {"site_note": "again"}}))
    build = site.wait_until_settled()
    assert condition(build, "Ready")["status"] == "True", build["status"]
    for phase in ("ConfigureManagement", "ConfigureServices"):
        log = site.kubectl.run("logs", next(p["pod"] for p in build["status"]["phases"] if p["name"] == phase))
        assert CHANGED.findall(log) == []
        assert "oxygen1" in RECAP.findall(log)


def test_removing_a_node_drains_it_and_leaves_the_rest_alone(site: Site, built: Resource) -> None:
    site.kubectl.apply(
        build_manifest(
            site, compute={"hosts": "oxygen[2-4]", "addresses": "10.141.0.[2-4]", "macs": list(site.lab.macs)[:3]}
        )
    )
    build = site.wait_until_settled()
    assert condition(build, "Ready")["status"] == "True", build["status"]
    assert build["status"]["jobs"][0]["nodes"] == "oxygen[2-4]"
    assert "oxygen5" not in site.lab.exec("oxygen1", ["sinfo", "--noheader", "--Node", "--format=%N"]).split()


def test_adding_a_node_installs_just_that_one(site: Site, built: Resource) -> None:
    site.lab.power("off", "oxygen5")
    site.lab.wipe("oxygen5")  # another machine in the same place; the same one is found to be installed, and kept
    before = len(site.lab.events())
    site.kubectl.apply(build_manifest(site))
    build = site.wait_until_settled()
    assert condition(build, "Ready")["status"] == "True", build["status"]
    assert build["status"]["jobs"][0]["nodes"] == "oxygen[2-5]"
    assert {event["machine"] for event in site.lab.events()[before:] if event["event"] == "boot"} == {"oxygen5"}


def test_deleting_with_power_off_leaves_machines_off_and_nothing_behind(site: Site, built: Resource) -> None:
    site.kubectl.apply(build_manifest(site, onDelete="PowerOff"))
    site.wait_until_settled()
    site.kubectl.run("delete", "clusterbuild", "oxygen", timeout=120)
    assert {machine["power"] for machine in site.lab.state().values()} == {"off"}
    site.wait_until_nothing_is_left()

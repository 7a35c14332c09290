"""The operator is killed, pods vanish, users abort: nothing is lost and nothing runs twice."""

from __future__ import annotations

from functools import partial

import pytest

from tests.e2e.conftest import MakeSite
from tests.support.disturbance import find_running, find_under_way, kill_operator, phase_pods
from tests.support.site import Site, condition

pytestmark = pytest.mark.e2e

PHASES = ("Preflight", "BootManagement", "ConfigureManagement", "BootCompute", "ConfigureServices", "Verify", "Cleanup")
PHASE_SECONDS = 400
"""For a phase to begin: those before it, and an operator that was killed and has to take the lead again."""
REPEATED_SECONDS = 90
"""For another attempt: the grace of the deleted pod and the back-off."""
ABORT_SECONDS = 120
JOB_SECONDS = 60


@pytest.fixture(scope="module")
def site(make_shared_site: MakeSite) -> Site:
    return make_shared_site("interruptions", compute_nodes=1)


def test_operator_killed_in_every_phase_loses_and_repeats_nothing(site: Site) -> None:
    site.kubectl.apply(site.build_manifest(retries={"phaseAttempts": 1}))
    for phase in PHASES:
        site.kubectl.wait_for(
            f"{phase} to be under way", partial(find_under_way, site, phase), PHASE_SECONDS, site.explain
        )
        kill_operator(site)
    build = site.wait_until_settled()
    assert condition(build, "Ready")["status"] == "True", site.explain()
    assert [(phase["name"], phase["state"], phase["attempt"]) for phase in build["status"]["phases"]] == [
        (phase, "Succeeded", 1) for phase in PHASES
    ]
    assert sorted(pod["metadata"]["labels"]["bessemer.dev/phase"] for pod in phase_pods(site)) == sorted(PHASES)
    network_boots = [
        event["machine"] for event in site.lab.events() if event["event"] == "boot" and event["source"] == "network"
    ]
    assert sorted(network_boots) == ["oxygen1", "oxygen2"]


def test_deleted_phase_pod_is_counted_and_repeated(site: Site) -> None:
    job = {"name": "slow", "script": "#!/bin/sh\nsleep 15\nhostname\n", "expect": {"output": "oxygen2"}}
    site.kubectl.apply(site.build_manifest(verify={"jobs": [job]}))
    pod = site.kubectl.wait_for("Verify to run", partial(find_running, site, "Verify"), PHASE_SECONDS, site.explain)
    name, attempt = pod["metadata"]["name"], int(pod["metadata"]["labels"]["bessemer.dev/attempt"])
    site.kubectl.run("delete", "pod", name, "--wait=false")
    site.kubectl.wait_for(
        "another attempt", partial(find_running, site, "Verify", name), REPEATED_SECONDS, site.explain
    )
    build = site.wait_until_settled()
    assert condition(build, "Ready")["status"] == "True", site.explain()
    verify = next(phase for phase in build["status"]["phases"] if phase["name"] == "Verify")
    assert (verify["state"], verify["attempt"], verify["failures"]) == ("Succeeded", attempt + 1, 1)
    lost = site.kubectl.items("events", "--field-selector", "reason=PodLost,type=Warning")
    assert [name in str(event) or f"attempt {attempt}" in str(event) for event in lost] == [True]


def test_aborted_build_cleans_up_and_says_so(site: Site) -> None:
    job = {"name": "endless", "script": "#!/bin/sh\nsleep 600\n"}
    site.kubectl.apply(site.build_manifest(verify={"jobs": [job]}))
    site.kubectl.wait_for("Verify to run", partial(find_running, site, "Verify"), PHASE_SECONDS, site.explain)
    site.kubectl.wait_for("the job to run", partial(list_jobs, site), JOB_SECONDS, site.explain)
    site.kubectl.run("annotate", "clusterbuild", "oxygen", "bessemer.dev/abort=now")
    build = site.wait_until_settled(seconds=ABORT_SECONDS)
    ready = condition(build, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Aborted")
    assert condition(build, "CleanedUp")["status"] == "True"
    assert not list_jobs(site)


def list_jobs(site: Site) -> list[str]:
    """List the jobs that Slurm knows of as waiting or running."""
    return site.lab.exec("oxygen1", ["squeue", "--noheader", "--states=PENDING,RUNNING", "--format=%j"]).split()

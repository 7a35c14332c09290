"""What goes wrong around runner pools, on a real Kubernetes with GitLab's own runner and the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from local_kubernetes.kubectl import Resource
from tests.support.runners import PROJECT, SOON, Runners

pytestmark = pytest.mark.e2e
LONG = pytest.mark.soak
"""For ``make soak``: ``make test`` has one of each kind."""

LISTING = "GET /api/v4/projects/.*/jobs"
ASKING = "POST /api/v4/jobs/request"
RECOVERY = 90
"""Seconds for a pool to get over something, its back-off included."""
FEW = 6
"""Pods that may be created in vain for one job, while GitLab won't give it."""


def count_created(runners: Runners) -> int:
    """Count the events of pods that were created for the pool; repeated ones are counted by their series."""
    found = 0
    for event in runners.kubectl.items("events", "--field-selector", "involvedObject.name=lab,reason=Created"):
        found += (event.get("series") or {}).get("count") or event.get("count") or 1
    return found


def run_one(runners: Runners, *script: str, tags: tuple[str, ...] = ("hpc",), name: str = "job") -> int:
    (job,) = runners.gitlab.run_jobs(PROJECT, {"name": name, "tags": list(tags), "script": list(script) or ["true"]})
    return job


def assert_succeeds(runners: Runners, job: int) -> None:
    done = runners.wait_for_jobs([job], RECOVERY)[job]
    assert (done["status"], done["claims"]) == ("success", 1), done["trace"]


def wait_for_ready(runners: Runners, *reasons: str) -> dict[str, Any]:
    """Wait until the pool's Ready says one of these reasons; return the condition."""

    def look() -> dict[str, Any] | None:
        found = runners.find_condition("lab", "Ready")
        return found if found.get("reason") in reasons else None

    condition: dict[str, Any] = runners.kubectl.wait_for(f"Ready says {reasons}", look, SOON, runners.explain)
    return condition


def wait_for_running(runners: Runners, job: int) -> Resource:
    """Wait until a job runs; return its pod."""
    runners.kubectl.wait_for(
        "the job runs", lambda: runners.gitlab.jobs()[job]["status"] == "running", SOON, runners.explain
    )
    (pod,) = runners.pods()
    return pod


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "5"}, "times": 2},
        pytest.param({"status": 403, "times": 2}, marks=LONG),
        pytest.param({"status": 503, "times": 3}, marks=LONG),
        pytest.param({"kind": "reset", "times": 3}, marks=LONG),
        # longer than a request may take: it hangs
        pytest.param({"kind": "delay", "seconds": 25, "times": 1}, marks=LONG),
    ],
    ids=lambda fault: str(fault.get("status", fault.get("kind"))),
)
def test_while_waiting_jobs_can_not_be_listed_none_is_lost(
    runners: Runners, apply_pool: Callable[..., None], fault: dict[str, Any]
) -> None:
    apply_pool("lab", ["hpc"])
    struck = runners.gitlab.clear_faults()
    runners.gitlab.switch_fault(route=LISTING, **fault)
    # Under a name that was not listed before: of others the operator remembers the tags, and need not list them.
    job = run_one(runners, name=f"listed-{fault.get('status', fault.get('kind'))}")
    assert_succeeds(runners, job)
    assert runners.gitlab.clear_faults() - struck == fault["times"]
    runners.wait_until_empty()


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 403, "times": 1},
        pytest.param({"status": 409, "times": 2}, marks=LONG),
        pytest.param({"status": 429, "headers": {"Retry-After": "3"}, "times": 1}, marks=LONG),
        pytest.param({"status": 503, "times": 3}, marks=LONG),
    ],
    ids=lambda fault: str(fault.get("status", fault.get("kind"))),
)
def test_while_gitlab_gives_out_no_jobs_few_pods_are_tried_and_none_is_lost(
    runners: Runners, apply_pool: Callable[..., None], fault: dict[str, Any]
) -> None:
    apply_pool("lab", ["hpc"])
    before = count_created(runners)
    runners.gitlab.switch_fault(route=ASKING, **fault)
    job = run_one(runners)
    done = runners.wait_for_jobs([job], RECOVERY)[job]
    runners.gitlab.clear_faults()
    assert done["status"] == "success", done["trace"]
    assert 1 <= count_created(runners) - before <= FEW
    runners.wait_until_empty()


def test_a_job_that_gitlab_gives_to_a_broken_connection_is_gitlabs_to_lose(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    """GitLab takes the job for running, and the runner never learns of it: no component can return it for an hour."""
    apply_pool("lab", ["hpc"])
    runners.gitlab.switch_fault(route=ASKING, kind="reset", times=1)
    job = run_one(runners)
    runners.kubectl.wait_for(
        "GitLab gives it away", lambda: runners.gitlab.jobs()[job]["claims"], SOON, runners.explain
    )
    runners.wait_until_empty()
    assert_succeeds(runners, run_one(runners))
    lost = runners.gitlab.jobs()[job]
    assert (lost["status"], lost["claims"], lost["trace"]) == ("running", 1, "")


def test_a_pod_that_is_killed_before_it_has_a_job_is_replaced(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    apply_pool("lab", ["hpc"], min=1)
    runners.kubectl.wait_for(
        "a pod waits", lambda: runners.kubectl.get("rp", "lab")["status"].get("idle") == 1, SOON, runners.explain
    )
    (pod,) = runners.pods()
    runners.kubectl.run("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
    assert_succeeds(runners, run_one(runners))


def test_a_job_whose_pod_is_killed_is_told_apart_and_the_next_one_runs(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    apply_pool("lab", ["hpc"])
    job = run_one(runners, "sleep 600")
    pod = wait_for_running(runners, job)
    runners.kubectl.run("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
    runners.wait_until_empty()

    def told() -> bool:
        return any(f"job {job}" in text for text in runners.list_events("lab", "PodLost"))

    runners.kubectl.wait_for("the loss is told", told, SOON, runners.explain)
    assert_succeeds(runners, run_one(runners))
    assert runners.gitlab.jobs()[job]["claims"] == 1


@pytest.mark.parametrize(
    ("wrong", "reasons"),
    [
        ({"image": "localhost/none:1", "imagePullPolicy": "Never"}, ("ErrImageNeverPull",)),
        pytest.param({"nodeSelector": {"gpu": "none"}}, ("Unschedulable",), marks=LONG),
        pytest.param({"priorityClassName": "none"}, ("PodRefused",), marks=LONG),
    ],
    ids=["image", "node", "admission"],
)
def test_a_pod_that_can_not_start_says_why_and_the_mended_pool_goes_on(
    runners: Runners, apply_pool: Callable[..., None], wrong: dict[str, Any], reasons: tuple[str, ...]
) -> None:
    apply_pool("lab", ["hpc"], pod=runners.pod | wrong)
    job = run_one(runners)
    wait_for_ready(runners, *reasons)
    runners.kubectl.apply(runners.build_pool("lab", ["hpc"]))
    assert_succeeds(runners, job)
    runners.wait_until_empty()


def test_quota_leaves_jobs_waiting_and_they_run_when_there_is_room(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    there = len(runners.kubectl.items("pods"))
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    runners.kubectl.apply(quota | {"spec": {"hard": {"pods": str(there)}}})
    try:
        runners.kubectl.wait_for(
            "the quota counts",
            lambda: runners.kubectl.get("resourcequota", "small").get("status", {}).get("used"),
            SOON,
            runners.explain,
        )
        apply_pool("lab", ["hpc"])
        jobs = runners.gitlab.run_jobs(PROJECT, *[{"tags": ["hpc"], "script": ["true"]}] * 3)
        runners.kubectl.wait_for(
            "the pool says so",
            lambda: runners.find_condition("lab", "ScalingLimited").get("reason") == "QuotaExceeded",
            SOON,
            runners.explain,
        )
        assert runners.pods() == []
        runners.kubectl.apply(quota | {"spec": {"hard": {"pods": str(there + 1)}}})
        done = runners.wait_for_jobs(jobs, RECOVERY)
        assert {(job["status"], job["claims"]) for job in done.values()} == {("success", 1)}
    finally:
        runners.kubectl.run("delete", "resourcequota", "small")
    runners.wait_until_empty()


def test_a_changed_spec_rolls_out_while_jobs_run_and_come(runners: Runners, apply_pool: Callable[..., None]) -> None:
    apply_pool("lab", ["hpc"], max=4, min=2)
    script = ["sleep 4", "echo colour=$COLOUR"]
    jobs = runners.gitlab.run_jobs(PROJECT, *[{"tags": ["hpc"], "script": script}] * 6)
    wait = {"name": "COLOUR", "value": "green"}
    runners.kubectl.wait_for(
        "some run",
        lambda: any(runners.gitlab.jobs()[job]["status"] == "running" for job in jobs),
        SOON,
        runners.explain,
    )
    runners.kubectl.apply(runners.build_pool("lab", ["hpc"], max=4, min=2, pod=runners.pod | {"environment": [wait]}))
    jobs += runners.gitlab.run_jobs(PROJECT, *[{"tags": ["hpc"], "script": script}] * 4)
    done = runners.wait_for_jobs(jobs, RECOVERY)
    assert {(job["status"], job["claims"]) for job in done.values()} == {("success", 1)}
    assert "colour=green" in done[jobs[-1]]["trace"]

"""Pods that are killed, evicted, out of memory or lost with their node, on a real Kubernetes with a real runner."""

from __future__ import annotations

import base64
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_runner_faults import assert_succeeds, count_created, run_one, wait_for_running
from tests.support.disturbance import stopped_operator
from tests.support.gitlab_pod import send_through
from tests.support.runners import PROJECT, SOON, Runners, assert_whole_log, write_lines

pytestmark = pytest.mark.e2e
CGROUP_V2 = Path("/sys/fs/cgroup/cgroup.controllers")
"""Is there where the machine has version 2."""
LINES = 100
KILLS = 8
BACK_OFF_SECONDS = 330
"""More than a pool waits at the longest after pods that were killed while they were starting."""
EVICTION_SECONDS = 180
"""For the kubelet to measure what a pod has in its volumes, which it does about once a minute, and to evict it."""
COLLECTOR_SECONDS = 180
"""For Kubernetes' own collector to remove the pods of a node that is gone, which takes forty seconds or so."""


def kill_pod(runners: Runners, name: str) -> None:
    """Delete a pod by force: Kubernetes forgets it at once, whatever becomes of its containers."""
    runners.kubectl.run("delete", "pod", name, "--force", "--grace-period=0", "--ignore-not-found")


def wait_for_loss(runners: Runners, job: int, *words: str, reasons: tuple[str, ...] = ("PodLost",)) -> str:
    """Wait for an event of the pool that names a job and says these words; return its message."""

    def look() -> str | None:
        found = [text for reason in reasons for text in runners.list_events("lab", reason)]
        named = re.compile(rf"(job|jobs it had taken:) {job}\b")
        return next((text for text in found if named.search(text) and all(word in text for word in words)), None)

    message: str = runners.kubectl.wait_for(f"an event tells of job {job}", look, SOON, runners.explain)
    return message


def test_a_pod_that_is_killed_after_its_job_leaves_no_manager_and_its_job_counts_once(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    """Its job has ended, and the operator, which stands still, has not collected it yet."""
    apply_pool("lab", ["hpc"])
    before = count_created(runners)
    job = run_one(runners, write_lines(LINES), "sleep 3")
    pod = wait_for_running(runners, job)["metadata"]["name"]
    with stopped_operator(runners):
        done = runners.wait_for_jobs([job])[job]
        runners.kubectl.wait_for("the runner ends", lambda: has_ended(runners, pod), SOON, runners.explain)
        kill_pod(runners, pod)
        assert runners.pods() == []
    assert (done["status"], done["claims"]) == ("success", 1)
    assert_whole_log(done, LINES)
    runners.wait_until_empty()
    assert count_created(runners) - before == 1
    assert_succeeds(runners, run_one(runners))
    runners.wait_until_empty()
    assert runners.gitlab.jobs()[job] == done
    assert not [text for text in runners.list_events("lab", "PodLost") if f"job {job}" in text]


def has_ended(runners: Runners, name: str) -> bool:
    """Return whether the container of a pod has ended."""
    (status,) = runners.kubectl.get("pod", name)["status"]["containerStatuses"]
    return "terminated" in status["state"]


def test_pods_that_are_killed_at_random_leave_no_manager_and_each_job_counts_once_or_is_told_to_be_lost(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    apply_pool("lab", ["hpc"])
    moments = random.Random(KILLS)  # noqa: S311  to be the same again
    jobs = []
    for _ in range(KILLS):
        jobs.append(run_one(runners, write_lines(LINES), "sleep 1"))
        time.sleep(moments.uniform(0, 5))  # a random moment is what the test is about
        for pod in runners.pods():
            kill_pod(runners, pod["metadata"]["name"])
    runners.kubectl.wait_for(
        "no job waits", lambda: not list_in(runners, jobs, "pending"), BACK_OFF_SECONDS, runners.explain
    )
    # A runner may ask GitLab when its pod is gone already: GitLab is told once more, ten seconds later.
    runners.wait_until_empty(forget_seconds=20)
    assert {runners.gitlab.jobs()[job]["claims"] for job in jobs} == {1}
    for job in list_in(runners, jobs, "success"):
        assert_whole_log(runners.gitlab.jobs()[job], LINES)
    for job in list_in(runners, jobs, "running"):
        wait_for_loss(runners, job)
    assert_succeeds(runners, run_one(runners))


def list_in(runners: Runners, jobs: list[int], status: str) -> list[int]:
    """List those of the jobs that have a status in GitLab."""
    known = runners.gitlab.jobs()
    return [job for job in jobs if known[job]["status"] == status]


def test_a_job_that_eats_all_memory_fails_alone_and_it_is_said_why(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    """With cgroups of version 1 the kernel kills what eats the memory, and the job says so; with version 2 it kills all
    of the pod, and the pool says so."""
    apply_pool("lab", ["hpc"], pod=runners.pod | {"resources": {"limits": {"memory": "160Mi"}}})
    job = run_one(runners, "tail /dev/zero")
    runners.kubectl.wait_for("it has a job", lambda: runners.gitlab.jobs()[job]["claims"], SOON, runners.explain)
    runners.wait_until_empty()
    if CGROUP_V2.exists():
        wait_for_loss(runners, job, "OOMKilled")
    else:
        done = runners.wait_for_jobs([job])[job]
        assert (done["status"], done["failure_reason"], done["exit_code"]) == ("failed", "script_failure", 137)
        assert "Killed" in done["trace"]
    assert_succeeds(runners, run_one(runners))


def test_a_runner_that_is_killed_for_memory_is_told_with_its_reason_and_its_job(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    """Memory that no process gives back, as files in memory, makes the runner the largest that the kernel can kill."""
    apply_pool("lab", ["hpc"], pod=runners.pod | {"resources": {"limits": {"memory": "64Mi"}}})
    job = run_one(runners, "head -c 64M /dev/zero >/dev/shm/fill", "sleep 600")
    runners.kubectl.wait_for("it has a job", lambda: runners.gitlab.jobs()[job]["claims"], SOON, runners.explain)
    runners.wait_until_empty()
    # Whether the entry point was killed with it, and could not say what it had taken, is chance.
    wait_for_loss(runners, job, "OOMKilled", reasons=("PodLost", "PodFailed"))
    runners.kubectl.apply(runners.build_pool("lab", ["hpc"]))
    assert_succeeds(runners, run_one(runners))
    lost = runners.gitlab.jobs()[job]
    assert (lost["status"], lost["claims"]) == ("running", 1)


def test_a_pod_that_is_evicted_by_the_api_ends_its_job_first(runners: Runners, apply_pool: Callable[..., None]) -> None:
    """As by kubectl drain."""
    apply_pool("lab", ["hpc"])
    job = run_one(runners, write_lines(LINES // 2), "sleep 6", write_lines(LINES // 2, LINES // 2 + 1))
    pod = wait_for_running(runners, job)["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{runners.kubectl.namespace}/pods/{pod}/eviction"
    runners.kubectl.run("create", "--raw", path, "-f", "-", given=json.dumps(eviction))
    assert "deletionTimestamp" in runners.kubectl.get("pod", pod)["metadata"]
    runners.kubectl.wait_for(
        "it drains", lambda: runners.kubectl.get("rp", "lab")["status"]["draining"] == 1, SOON, runners.explain
    )
    done = runners.wait_for_jobs([job])[job]
    assert (done["status"], done["claims"]) == ("success", 1), done["trace"]
    assert_whole_log(done, LINES)
    runners.wait_until_empty()
    assert not [text for text in runners.list_events("lab", "PodLost") if f"job {job} " in text]


def test_a_pod_that_the_kubelet_evicts_is_told_with_its_reason_and_its_job(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    apply_pool("lab", ["hpc"], pod=runners.pod | {"resources": {"limits": {"ephemeral-storage": "20Mi"}}})
    job = run_one(runners, "head -c 60M /dev/zero >big", "sleep 600")
    wait_for_running(runners, job)
    runners.wait_until_empty(EVICTION_SECONDS)
    message = wait_for_loss(runners, job, "Evicted")
    assert "20Mi" in message
    assert_succeeds(runners, run_one(runners))
    assert runners.gitlab.jobs()[job]["claims"] == 1


@pytest.fixture
def dead_node(runners: Runners) -> Iterator[str]:
    """Return a node without a kubelet: it exists in the API alone, as one that has died."""
    labels = {"role": "doomed"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "doomed", "labels": labels}}
    runners.kubectl.apply(node)
    capacity = {"cpu": "4", "memory": "4Gi", "pods": "10"}
    status = {"status": {"capacity": capacity, "allocatable": capacity}}
    runners.kubectl.run("patch", "node", "doomed", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    yield "doomed"
    runners.kubectl.run("delete", "node", "doomed", "--ignore-not-found")


def prefer_doomed(runners: Runners) -> dict[str, Any]:
    """Return the pods of a pool that go to the dead node while it is there."""
    term = {"matchExpressions": [{"key": "role", "operator": "In", "values": ["doomed"]}]}
    prefer = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]}
    taints = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    tolerations = [{"key": taint, "operator": "Exists", "effect": "NoSchedule"} for taint in taints]
    return runners.pod | {"affinity": {"nodeAffinity": prefer}, "tolerations": tolerations}


def wait_until_bound(runners: Runners, node: str) -> str:
    """Wait until the only pod is on a node; return its name."""

    def look() -> str | None:
        found = runners.pods()
        bound = [pod["spec"].get("nodeName") for pod in found] == [node]
        return found[0]["metadata"]["name"] if bound else None

    name: str = runners.kubectl.wait_for("the pod comes to the dead node", look, SOON, runners.explain)
    return name


@pytest.mark.soak
def test_a_job_whose_node_is_lost_before_it_ran_runs_on_another(
    runners: Runners, apply_pool: Callable[..., None], dead_node: str
) -> None:
    apply_pool("lab", ["hpc"], pod=prefer_doomed(runners))
    job = run_one(runners)
    wait_until_bound(runners, dead_node)
    runners.kubectl.run("delete", "node", dead_node)
    done = runners.wait_for_jobs([job], COLLECTOR_SECONDS)[job]
    assert (done["status"], done["claims"]) == ("success", 1), done["trace"]
    runners.wait_until_empty()


@pytest.mark.soak
def test_a_job_that_ran_on_a_node_that_is_lost_is_told_and_its_manager_goes(
    runners: Runners, apply_pool: Callable[..., None], dead_node: str
) -> None:
    """The dead node's kubelet and runner are played by the test: it says that the pod runs, and takes the job.

    docs/development/status.md says why there is no second node that could be switched off.
    """
    apply_pool("lab", ["hpc"], pod=prefer_doomed(runners))
    job = run_one(runners)
    pod = wait_until_bound(runners, dead_node)
    play_kubelet(runners, pod)
    claim_job(runners, pod)
    assert runners.gitlab.jobs()[job]["status"] == "running"
    runners.kubectl.wait_for(
        "the pool counts it", lambda: runners.kubectl.get("rp", "lab")["status"]["running"] == 1, SOON, runners.explain
    )
    runners.kubectl.run("delete", "node", dead_node)
    runners.wait_until_empty(COLLECTOR_SECONDS)
    wait_for_loss(runners, job)
    assert_succeeds(runners, run_one(runners))
    lost = runners.gitlab.jobs()[job]
    assert (lost["status"], lost["claims"]) == ("running", 1)


def play_kubelet(runners: Runners, pod: str) -> None:
    """Say of a pod's container that it runs."""
    running = {"running": {"startedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}}
    fields = {"name": "runner", "image": runners.image, "imageID": "", "ready": True, "restartCount": 0}
    status = {"phase": "Running", "containerStatuses": [fields | {"state": running}]}
    patch = json.dumps({"status": status})
    runners.kubectl.run("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", patch)


def claim_job(runners: Runners, pod: str) -> None:
    """Ask GitLab for a job as the runner in a pod would."""
    containers = runners.kubectl.get("pod", pod)["spec"]["containers"]
    environment = {item["name"]: item.get("value") for item in containers[0]["env"]}
    token = base64.b64decode(runners.kubectl.get("secret", "lab-runner")["data"]["token"]).decode()
    body = {"token": token, "system_id": environment["BESSEMER_SYSTEM_ID"], "info": {}}
    send_through(runners.kubectl)("POST", "/api/v4/jobs/request", body)


def test_the_pool_of_higher_priority_has_the_room_first_and_the_other_says_why_it_waits(
    runners: Runners, apply_pool: Callable[..., None]
) -> None:
    there = len(runners.kubectl.items("pods"))
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    runners.kubectl.apply(quota | {"spec": {"hard": {"pods": str(there + 1)}}})
    try:
        runners.kubectl.wait_for("the quota counts", lambda: read_used(runners), SOON, runners.explain)
        apply_pool("calm", ["calm"], priority=-1)
        apply_pool("urgent", ["urgent"], priority=10)
        # Names differ, as do the tags: a job of a name that was seen before is taken to have the tags that it had.
        (first,) = runners.gitlab.run_jobs(PROJECT, {"name": "first", "tags": ["calm"], "script": ["sleep 10"]})
        wait_for_running(runners, first)
        calm, urgent = (
            runners.gitlab.run_jobs(PROJECT, *[{"name": tag, "tags": [tag], "script": ["sleep 1"]}] * count)
            for tag, count in (("calm", 2), ("urgent", 3))
        )

        def said() -> bool:
            limit = runners.find_condition("calm", "ScalingLimited")
            return (
                limit.get("reason") == "QuotaExceeded"
                and "kept for pool urgent, whose priority is 10" in limit["message"]
            )

        runners.kubectl.wait_for("the lower one says why it waits", said, SOON, runners.explain)
        assert runners.find_condition("urgent", "ScalingLimited")["reason"] == "QuotaExceeded"
        done = runners.wait_for_jobs([first, *calm, *urgent], 3 * SOON)
        assert {(job["status"], job["claims"]) for job in done.values()} == {("success", 1)}
        order = sorted(done, key=lambda number: done[number]["started_at"])
        assert order == [first, *urgent, *calm], [(number, done[number]["started_at"]) for number in order]
    finally:
        runners.kubectl.run("delete", "resourcequota", "small")
    runners.wait_until_empty()


def read_used(runners: Runners) -> Any:
    """Return what is used of the quota; nothing while it is not counted yet."""
    return runners.kubectl.get("resourcequota", "small").get("status", {}).get("used")

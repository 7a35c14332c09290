"""Executors other than Shell on a real Kubernetes, with GitLab's own runner; GitLab itself is the simulator."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local_kubernetes.kubectl import Resource
from local_kubernetes.protocol import Cluster
from tests.support.plan import explain_plan_refusal
from tests.support.runner_image import build_docker_image, build_helper_image
from tests.support.runners import PROJECT, SOON, Runners, build_example
from tests.support.site import allow

pytestmark = pytest.mark.e2e

JOB_POD = "bessemer.dev/runner-uid"
DOCKER_SECONDS = 120
"""A daemon starts, loads an image of some hundred megabytes and starts again before the runner does."""


@pytest.fixture(scope="module")
def executor(bessemer: Cluster) -> dict[str, Any]:
    """Return an executor that runs jobs in pods, whose images are on the node."""
    helper = build_helper_image()
    bessemer.load_image(helper.archive)
    kubernetes = {"image": helper.name, "helperImage": helper.name, "pullPolicy": "Never"}
    return {"type": "Kubernetes", "kubernetes": kubernetes}


def list_job_pods(runners: Runners) -> list[Resource]:
    return runners.kubectl.items("pods", "-l", JOB_POD)


def wait_for_pods_of_running_jobs(runners: Runners, count: int) -> list[Resource]:
    def running() -> list[Resource] | None:
        found = [pod for pod in list_job_pods(runners) if pod["status"].get("phase") == "Running"]
        return found if len(found) == count else None

    pods: list[Resource] = runners.kubectl.wait_for("jobs run in pods", running, SOON, runners.explain)
    return pods


def wait_until_no_job_pod_is_left(runners: Runners) -> None:
    runners.kubectl.wait_for("the jobs' pods go", lambda: not list_job_pods(runners), SOON, runners.explain)


def test_a_job_runs_in_a_pod_of_its_own_without_an_account(
    runners: Runners, apply_pool: Callable[..., None], executor: dict[str, Any]
) -> None:
    apply_pool(
        "lab", ["hpc"], executor=executor, pod=runners.pod | {"environment": [{"name": "SITE", "value": "hall"}]}
    )
    script = ["echo on $HOSTNAME at $SITE", "ls /var/run/secrets/kubernetes.io || echo no account", "sleep 3"]
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": script})
    (pod,) = wait_for_pods_of_running_jobs(runners, 1)
    assert len(runners.pods()) == 1
    done = runners.wait_for_jobs([job])[job]
    assert done["status"] == "success", done["trace"]
    assert f"on {pod['metadata']['name']} at hall" in done["trace"]
    assert "no account" in done["trace"]
    runners.wait_until_empty()
    wait_until_no_job_pod_is_left(runners)


def test_a_failed_job_keeps_its_exit_code(
    runners: Runners, apply_pool: Callable[..., None], executor: dict[str, Any]
) -> None:
    apply_pool("lab", ["hpc"], executor=executor)
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": ["exit 42"]})
    done = runners.wait_for_jobs([job])[job]
    assert (done["status"], done["failure_reason"], done["exit_code"]) == ("failed", "script_failure", 42)


def test_the_pod_of_a_job_does_not_outlive_a_killed_runner(
    runners: Runners, apply_pool: Callable[..., None], executor: dict[str, Any]
) -> None:
    apply_pool("lab", ["hpc"], executor=executor)
    runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": ["sleep 600"]})
    wait_for_pods_of_running_jobs(runners, 1)
    (runner,) = runners.pods()
    runners.kubectl.run("delete", "pod", runner["metadata"]["name"], "--force", "--grace-period=0")
    wait_until_no_job_pod_is_left(runners)
    runners.wait_until_empty()


def test_one_manager_runs_all_jobs_and_goes_when_there_are_none(
    runners: Runners, apply_pool: Callable[..., None], executor: dict[str, Any]
) -> None:
    apply_pool("lab", ["hpc"], executor=executor, mode="Manager", idleSeconds=5)
    assert runners.pods() == []
    script = ["echo done in $HOSTNAME", "sleep 10"]
    jobs = runners.gitlab.run_jobs(PROJECT, *[{"tags": ["hpc"], "script": script}] * 3)
    pods = wait_for_pods_of_running_jobs(runners, 3)
    (manager,) = runners.pods()
    # Told to go, it ends its jobs first.
    runners.kubectl.run("delete", "pod", manager["metadata"]["name"], "--wait=false")
    done = runners.wait_for_jobs(jobs)
    assert {(job["status"], job["claims"]) for job in done.values()} == {("success", 1)}
    said = "".join(job["trace"] for job in done.values())
    assert all(f"done in {pod['metadata']['name']}" in said for pod in pods)
    runners.wait_until_empty()
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": ["true"]})
    assert runners.wait_for_jobs([job])[job]["status"] == "success"
    runners.wait_until_empty()
    wait_until_no_job_pod_is_left(runners)


def test_a_custom_executor_is_a_program_of_ones_own(runners: Runners, apply_pool: Callable[..., None]) -> None:
    """bash, given the file with the stage's script, is the smallest of them."""
    apply_pool("lab", ["hpc"], executor={"type": "Custom", "custom": {"run": "/bin/bash"}})
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": ["echo by $0"]})
    done = runners.wait_for_jobs([job])[job]
    assert (done["status"], "Using Custom executor" in done["trace"]) == ("success", True), done["trace"]


@pytest.fixture
def claim(runners: Runners) -> Iterator[str]:
    """Return a claim whose volume is a directory of the node."""
    access = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "ci-cache"},
        "spec": {
            **access,
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/var/lib/ci-cache", "type": "DirectoryOrCreate"},
            "claimRef": {"namespace": runners.kubectl.namespace, "name": "ci-cache"},
        },
    }
    request = {**access, "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "ci-cache"}
    metadata = {"name": "ci-cache"}
    runners.kubectl.apply(
        volume, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": request}
    )
    yield "ci-cache"
    runners.kubectl.run("delete", "pvc", "ci-cache", timeout=60)
    runners.kubectl.run("delete", "pv", "ci-cache", timeout=60)


def test_a_cache_on_a_volume_outlives_its_pod(
    runners: Runners, apply_pool: Callable[..., None], executor: dict[str, Any], claim: str
) -> None:
    """In job pods, which are root here: a directory of the node is not given to the runner's group."""
    apply_pool("lab", ["hpc"], executor=executor, cache={"volume": {"claimName": claim}})
    cache = [{"key": "models", "paths": ["models"], "policy": "pull-push", "when": "on_success"}]
    job = {"tags": ["hpc"], "cache": cache}
    (first,) = runners.gitlab.run_jobs(PROJECT, job | {"script": ["mkdir -p models; echo trained > models/one"]})
    assert runners.wait_for_jobs([first])[first]["status"] == "success"
    runners.wait_until_empty()
    (second,) = runners.gitlab.run_jobs(PROJECT, job | {"script": ["cat models/one"]})
    done = runners.wait_for_jobs([second])[second]
    assert (done["status"], "trained" in done["trace"]) == ("success", True), done["trace"]


SLURM = {
    "clusterRef": {"name": "oxygen"},
    "user": "ci",
    "identitySecret": {"name": "key"},
    "buildsDirectory": "/home/ci/builds",
}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"executor": {"type": "VirtualBox"}}, "virtualbox is required for type VirtualBox"),
        (
            {"executor": {"type": "VirtualBox", "virtualbox": {"baseName": "lab", "user": "ci"}}},
            "VirtualBox needs a hypervisor on the host",
        ),
        ({"executor": {"type": "Kubernetes"}}, "kubernetes is required for type Kubernetes"),
        ({"executor": {"type": "Shell", "docker": {"image": "debian"}}}, "docker is required for type Docker, and"),
        ({"mode": "Manager"}, "mode Manager needs executor.type Kubernetes"),
        (
            {
                "mode": "Manager",
                "executor": {"type": "Kubernetes", "kubernetes": {"image": "debian"}},
                "schedules": [{"name": "day", "start": "0 7 * * *", "durationSeconds": 3600, "min": 5}],
            },
            "min of a schedule must be 0 or 1",
        ),
        ({"cache": {}}, "exactly one of s3 and volume is required"),
        ({"executor": {"type": "Slurm", "slurm": SLURM | {"options": ["--arr=0-9"]}}}, "not even abbreviated"),
        ({"proxy": {"https": "http://me:secret@proxy:3128"}}, "spec.proxy.https"),
    ],
)
def test_what_can_not_be_is_refused_at_apply(runners: Runners, spec: dict[str, Any], said: str) -> None:
    assert said in runners.explain_refusal(**spec)
    planned = explain_plan_refusal(build_example(**spec))
    if "hypervisor" in said:
        assert planned == ""  # what it prints is for a host that has one
    else:
        assert said in planned


@pytest.fixture
def privileged(bessemer: Cluster, runners: Runners) -> Iterator[None]:
    """Have the administrator allow privileged pods."""
    docker = {"executor": {"type": "Docker", "docker": {"image": "x"}}}
    assert "policies.allow.privileged" in runners.explain_refusal(**docker)
    with allow(bessemer, "privileged"):
        runners.kubectl.wait_for("it to be in force", lambda: runners.explain_refusal(**docker) == "", SOON)
        yield


@pytest.mark.usefixtures("privileged")
def test_a_job_runs_in_a_container_of_a_docker_daemon_beside_its_runner(
    bessemer: Cluster, runners: Runners, apply_pool: Callable[..., None]
) -> None:
    """The daemon is Debian's, in an image that brings the image of jobs and helpers along."""
    helper = build_helper_image()
    daemon = build_docker_image(helper)
    bessemer.load_image(daemon.archive)
    settings = {"helper_image": helper.name, "pull_policy": ["never"]}
    docker = {"image": helper.name, "daemonImage": daemon.name, "settings": settings}
    apply_pool("lab", ["hpc"], executor={"type": "Docker", "docker": docker})
    script = ["echo on $HOSTNAME as $(id -un)", "echo kept > result", "exit 42"]
    artifacts = {"name": "result", "paths": ["result"], "when": "always"}
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["hpc"], "script": script, "artifacts": artifacts})
    done = runners.wait_for_jobs([job], DOCKER_SECONDS)[job]
    assert (done["status"], done["failure_reason"], done["exit_code"]) == ("failed", "script_failure", 42), done[
        "trace"
    ]
    assert re.search(r"on runner-\S+ as root", done["trace"]), done["trace"]
    assert "Uploading artifacts" in done["trace"]
    runners.wait_until_empty()

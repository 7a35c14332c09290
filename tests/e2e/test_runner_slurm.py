"""A GitLab job on a Slurm cluster that a ClusterBuild made: from the webhook to sbatch on bare metal, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bessemer.machines.secrets import SshKeyPair
from local_kubernetes.kubectl import Resource
from tests.contract.machines.test_ssh import make_key
from tests.e2e.conftest import MakeSite
from tests.support.runners import PROJECT, SOON, Runners, open_runners
from tests.support.site import Site, condition, merge

pytestmark = pytest.mark.e2e

NAMESPACE = "argon"


@pytest.fixture(scope="module")
def login() -> SshKeyPair:
    return make_key()


@pytest.fixture(scope="module")
def site(make_shared_site: MakeSite) -> Site:
    return make_shared_site(NAMESPACE, compute_nodes=2)


@pytest.fixture(scope="module")
def runners(site: Site) -> Iterator[Runners]:
    """Return a GitLab in the namespace of the build."""
    with open_runners(site.cluster, NAMESPACE) as made:
        yield made


@pytest.fixture(scope="module")
def manifest(site: Site, login: SshKeyPair) -> Resource:
    """A cluster with an account for GitLab's jobs, whose home all nodes share."""
    account = {"name": "ci", "uid": 2002, "comment": "GitLab jobs", "authorized_keys": [login.public]}
    made = site.build_manifest()
    merge(made["spec"], {"configuration": {"sharedHome": "SSHFS", "variables": {"base_accounts": [account]}}})
    return made


@pytest.fixture(scope="module")
def executor(runners: Runners, manifest: Resource, login: SshKeyPair) -> dict[str, Any]:
    runners.apply_secret("ci-key", login.private)
    slurm = {
        "clusterRef": {"name": manifest["metadata"]["name"]},
        "user": "ci",
        "identitySecret": {"name": "ci-key"},
        "buildsDirectory": "/home/ci",
    }
    return {"type": "Slurm", "slurm": slurm}


def queue(site: Site) -> list[str]:
    return site.lab.exec("oxygen1", ["squeue", "--noheader", "--format=%j %T"]).splitlines()


def test_a_pool_waits_for_its_cluster_and_then_a_job_runs_on_all_its_nodes(
    site: Site, runners: Runners, manifest: Resource, executor: dict[str, Any], apply_pool: Callable[..., None]
) -> None:
    apply_pool("slurm", ["slurm"], ready=False, executor=executor)
    runners.kubectl.wait_for(
        "the pool says what it lacks",
        lambda: runners.find_condition("slurm", "Ready").get("reason") == "ClusterMissing",
        SOON,
        runners.explain,
    )
    site.kubectl.apply(manifest)
    built = site.wait_until_settled()
    assert condition(built, "Ready")["status"] == "True", built["status"]
    runners.wait_until_ready("slurm")
    script = ["echo made of >steel", "srun sh -c 'echo $(hostname): $(cat steel) $SLURM_PROCID'", "exit 3"]
    variables = {"SCHEDULER_PARAMETERS": "--nodes=2 --ntasks=2"}
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["slurm"], "script": script, "variables": variables})
    done = runners.wait_for_jobs([job], 2 * SOON)[job]
    assert (done["status"], done["failure_reason"], done["exit_code"]) == ("failed", "script_failure", 3), done["trace"]
    assert "oxygen2: made of 0" in done["trace"]
    assert "oxygen3: made of 1" in done["trace"]
    runners.wait_until_empty()
    assert site.lab.exec("oxygen1", ["ls", "/home/ci"]) == ""


def test_a_job_that_is_cancelled_in_gitlab_is_cancelled_in_slurm(
    site: Site, runners: Runners, executor: dict[str, Any], apply_pool: Callable[..., None]
) -> None:
    apply_pool("slurm", ["slurm"], executor=executor)
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["slurm"], "script": ["sleep 600"]})
    runners.kubectl.wait_for("the job runs", lambda: queue(site) == [f"gitlab-{job} RUNNING"], SOON, runners.explain)
    runners.gitlab.cancel_job(runners.access_token, job)
    runners.kubectl.wait_for("Slurm's job goes", lambda: not queue(site), SOON, runners.explain)
    assert runners.wait_for_jobs([job])[job]["status"] == "canceled"
    runners.wait_until_empty()


def test_a_runner_pod_that_is_killed_leaves_no_job_in_slurm(
    site: Site, runners: Runners, executor: dict[str, Any], apply_pool: Callable[..., None]
) -> None:
    apply_pool("slurm", ["slurm"], executor=executor)
    (job,) = runners.gitlab.run_jobs(PROJECT, {"tags": ["slurm"], "script": ["sleep 600"]})
    runners.kubectl.wait_for("the job runs", lambda: queue(site) == [f"gitlab-{job} RUNNING"], SOON, runners.explain)
    (pod,) = runners.pods()
    runners.kubectl.run("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
    runners.kubectl.wait_for("Slurm's job goes", lambda: not queue(site), SOON, runners.explain)

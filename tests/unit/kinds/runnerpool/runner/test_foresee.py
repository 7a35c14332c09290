"""What a pool that has nothing yet would get, by the decisions of the operator."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.api.runnerpool.resource import parse_runner_pool
from bessemer.kinds.runnerpool.runner.foresee import foresee_steps
from tests.support.pool_world import KEY, PoolWorld, manifest

POLLS = "StartPolls, Missing: jobs of project hpc/simulations, every 60 s"
SETTINGS = '"ci/lab", tags hpc, tagged jobs only, locked, at most 3600 s a job'
CREATED = [
    "WriteRunnerSecret, Missing: Secret lab-runner, which must be there before its runner",
    f"CreateRunner, Missing: runner of project hpc/simulations: {SETTINGS}",
    "WriteRunnerSecret, Outdated: Secret lab-runner: what runner pods mount, and the runner's record",
]
ACCOUNT = "CreateServiceAccount, Missing: ServiceAccount lab-runner, with which runners create pods of jobs"
GIVEN = ["WriteRunnerSecret, Missing: Secret lab-runner: what runner pods mount"]
MANAGED = {"managed": {}, "tags": ["hpc"]}
KEY_SECRET = {"identitySecret": {"name": "key"}}
SLURM = {"clusterRef": {"name": "oxygen"}, "user": "ci", "buildsDirectory": "/home/ci", **KEY_SECRET}
SSH = {
    "host": "h",
    "user": "ci",
    "hostKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
}


def foresee(**spec: Any) -> list[str]:
    raw = manifest(**spec)
    raw["metadata"] |= {"namespace": KEY[0], "uid": "u"}
    pool = parse_runner_pool(raw)
    assert pool.spec is not None, pool.spec_error
    return [str(plan) for plan in foresee_steps(pool, pool.spec)]


def test_a_pool_that_has_its_runner_created_gets_secret_runner_and_configuration() -> None:
    assert foresee(runner=MANAGED) == [POLLS, *CREATED]


def test_a_pool_that_is_given_a_token_gets_its_configuration_alone() -> None:
    assert foresee() == [POLLS, *GIVEN]


def test_runners_that_create_pods_get_an_account_and_its_binding() -> None:
    account, binding, *rest = foresee(executor={"type": "Kubernetes", "kubernetes": {"image": "debian"}})[1:]
    assert account == ACCOUNT
    assert binding == "CreateRoleBinding, Missing: RoleBinding lab-runner to ClusterRole <of the chart>"
    assert rest == GIVEN


@pytest.mark.parametrize(
    "executor",
    [
        {"type": "Slurm", "slurm": SLURM},
        {"type": "SSH", "ssh": SSH | KEY_SECRET},
        {"type": "Docker", "docker": {"image": "debian"}},
    ],
    ids=lambda executor: executor["type"],
)
def test_the_same_is_foreseen_for_every_other_executor(executor: dict[str, Any]) -> None:
    assert foresee(runner=MANAGED, executor=executor) == [POLLS, *CREATED]


async def test_a_real_pool_gets_just_what_was_foreseen(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    del world.gitlab.runners[1]
    with caplog.at_level("INFO", "bessemer.kinds.runnerpool.runner"):
        await world.apply(runner=MANAGED)
        await world.settle()
    assert [record.getMessage().removeprefix("ci/lab: ") for record in caplog.records] == foresee(runner=MANAGED)

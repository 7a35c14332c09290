"""What a pool needs beside its Secret: a cluster of Slurm, or an account for runners that create pods."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS
from bessemer.kube.protocol import SECRETS
from bessemer.machines.secrets import derive_host_key
from tests.support.checkout import ROOT
from tests.support.pool_world import KEY, PoolWorld, open_pool_world

BUILD = ROOT / "examples" / "oxygen.yaml"
SLURM = {
    "type": "Slurm",
    "slurm": {
        "clusterRef": {"name": "oxygen"},
        "user": "ci",
        "identitySecret": {"name": "key"},
        "buildsDirectory": "/home/ci/builds",
    },
}
KUBERNETES = {"type": "Kubernetes", "kubernetes": {"image": "debian"}}


@pytest.fixture
async def world() -> AsyncIterator[PoolWorld]:
    async with open_pool_world() as world:
        yield world


async def add_build(world: PoolWorld, **management: Any) -> None:
    """Add a build that is under way, and its Secret."""
    manifest = yaml.safe_load(BUILD.read_text())
    manifest["metadata"]["name"] = "oxygen"
    manifest["spec"]["management"] |= management
    await world.kubernetes.create_object(CLUSTER_BUILDS, KEY[0], manifest)
    seed = base64.b64encode(base64.b64encode(b"s" * 32)).decode()
    await world.kubernetes.create_object(
        SECRETS, KEY[0], {"metadata": {"name": "oxygen-bessemer"}, "data": {"seed": seed}}
    )


def finish_build(world: PoolWorld) -> str:
    """Have the build become Ready; return its UID."""
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Verified",
        "lastTransitionTime": "2026-03-02T06:00:00Z",
    }
    world.kubernetes.edit("clusterbuilds", KEY[0], "oxygen", {"status": {"conditions": [ready]}})
    uid: str = world.kubernetes.objects["clusterbuilds", KEY[0], "oxygen"]["metadata"]["uid"]
    return uid


def read_file(world: PoolWorld, name: str) -> str:
    return base64.b64decode(world.kubernetes.objects["secrets", KEY[0], "lab-runner"]["data"][name]).decode()


async def test_a_pool_waits_for_its_cluster_and_then_trusts_the_key_that_was_planted_there(world: PoolWorld) -> None:
    await world.put_secret("key", "PRIVATE")
    await world.apply(executor=SLURM)
    await world.settle()
    assert world.condition("Ready") == ("False", "ClusterMissing")
    await add_build(world)
    world.pass_time(6)
    await world.settle()
    assert world.condition("Ready") == ("False", "ClusterNotReady")
    uid = finish_build(world)
    world.pass_time(6)
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")
    management = yaml.safe_load(BUILD.read_text())["spec"]["management"]
    assert (
        read_file(world, "slurm-known-hosts")
        == f"cluster {derive_host_key(uid, b's' * 32, management['host']).public}\n"
    )
    assert f"HostName {management['ssh']['address']}\n" in read_file(world, "slurm-ssh-config")
    assert "PRIVATE" in read_file(world, "slurm-identity")


async def test_a_pool_goes_on_while_its_cluster_is_changed(world: PoolWorld) -> None:
    await world.put_secret("key", "PRIVATE")
    await add_build(world)
    finish_build(world)
    await world.apply(executor=SLURM)
    await world.settle()
    world.kubernetes.edit("clusterbuilds", KEY[0], "oxygen", {"status": {"conditions": []}})
    world.pass_time(31)
    await world.settle()
    assert world.condition("Ready") == ("True", "Serving")


async def test_runners_that_create_pods_have_an_account_bound_to_the_charts_role(world: PoolWorld) -> None:
    await world.apply(executor=KUBERNETES)
    await world.settle()
    account = world.kubernetes.objects["serviceaccounts", KEY[0], "lab-runner"]
    binding = world.kubernetes.objects["rolebindings", KEY[0], "lab-runner"]
    assert account["metadata"]["ownerReferences"][0]["kind"] == "RunnerPool"
    assert binding["roleRef"]["name"] == "executor-role"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "lab-runner", "namespace": KEY[0]}]
    del world.kubernetes.objects["rolebindings", KEY[0], "lab-runner"]
    world.pass_time(31)
    await world.settle()
    assert ("rolebindings", KEY[0], "lab-runner") in world.kubernetes.objects


async def test_without_need_there_is_no_account(world: PoolWorld) -> None:
    await world.apply()
    await world.settle()
    assert ("serviceaccounts", KEY[0], "lab-runner") not in world.kubernetes.objects

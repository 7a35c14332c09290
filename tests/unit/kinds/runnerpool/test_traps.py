"""Traps of gitlab-runner and of Kubernetes that the manifest, the configuration and the reading of pods keep clear of.

docs/development/runner-traps.md has the whole list.
"""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from bessemer.api.names import runner_system_id
from bessemer.api.runnerpool.spec import MAX_PODS
from bessemer.kinds.runnerpool.facts import RunnerPodState
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kinds.runnerpool.render.config import build_config
from bessemer.kinds.runnerpool.render.manifest import END_SECONDS, build_runner_pod
from tests.unit.kinds.runnerpool.render.test_executors import EXECUTORS, SETTINGS
from tests.unit.kinds.runnerpool.scenes import build_pool, build_spec

MINUTES_30 = 1800


def render(**spec: Any) -> dict[str, Any]:
    return dict(build_runner_pod(build_pool(**spec), build_spec(**spec), SETTINGS, 0, "t")["spec"])


def test_a_stop_signal_in_the_manifest_is_dropped_silently_so_the_entry_point_takes_the_default_one() -> None:
    (container,) = render()["containers"]
    assert "lifecycle" not in container
    assert container["command"][0] == "bash"  # the first process: signals come to its traps, whatever the image says


@pytest.mark.parametrize(("given", "seconds"), [({}, MINUTES_30), ({"gracePeriodSeconds": 20}, 20)])
def test_the_kubelet_gives_a_pod_thirty_seconds_unless_it_is_told_otherwise(
    given: dict[str, int], seconds: int
) -> None:
    runner = {"tokenSecret": {"name": "runner"}, "tags": ["hpc"], "maximumTimeoutSeconds": MINUTES_30, **given}
    pod = render(runner=runner)
    assert pod["terminationGracePeriodSeconds"] == seconds + END_SECONDS
    environment = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    assert environment["BESSEMER_GRACE"] == str(seconds)


def test_a_pod_is_succeeded_two_seconds_after_its_container_which_is_not_waited_for() -> None:
    state = {"terminated": {"exitCode": 0, "message": '{"outcome":"JobTaken","jobs":[7]}', "reason": "Completed"}}
    metadata = {"name": "lab-runner-0", "uid": "u", "creationTimestamp": "2026-03-02T06:00:00Z"}
    status = {"phase": "Running", "containerStatuses": [{"name": "runner", "state": state}]}
    pod = parse_runner_pod({"metadata": metadata, "spec": {"nodeName": "n"}, "status": status})
    assert (pod.state, pod.claimed) == (RunnerPodState.FINISHED, (7,))


def test_a_new_system_id_in_each_pod_would_be_a_new_manager_in_gitlab_each_time() -> None:
    ids = {runner_system_id("a-pools-uid", slot) for slot in range(MAX_PODS)}
    assert len(ids) == MAX_PODS
    assert ids == {runner_system_id("a-pools-uid", slot) for slot in range(MAX_PODS)}


@pytest.mark.parametrize("name", EXECUTORS)
def test_the_token_is_in_the_environment_of_no_container(name: str) -> None:
    pod = render(executor=EXECUTORS[name])
    for container in (*pod["initContainers"], *pod["containers"]):
        values = [item for item in container.get("env", ()) if "valueFrom" in item]
        assert [item["name"] for item in values] in ([], ["BESSEMER_POD_UID"])
        assert "envFrom" not in container
    mounted = [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]
    assert "config" not in mounted


def test_a_manager_asks_again_soon_after_refusals_and_would_else_be_off_for_an_hour() -> None:
    spec = {"mode": "Manager", "executor": EXECUTORS["Kubernetes"]}
    (runner,) = tomllib.loads(build_config(build_pool(**spec), build_spec(**spec), "glrt", {}))["runners"]
    assert runner["unhealthy_interval"] == "10s"

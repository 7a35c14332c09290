from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bessemer.kinds.runnerpool.facts import RunnerPodFact, RunnerPodState
from bessemer.kinds.runnerpool.pods.runner_pods import parse_runner_pod
from bessemer.kinds.runnerpool.render.manifest import build_runner_pod
from tests.unit.kinds.runnerpool.render.test_executors import SETTINGS
from tests.unit.kinds.runnerpool.scenes import build_pool, build_spec

OVER: dict[str, Any] = {"terminated": {"exitCode": 0}}
RUNS: dict[str, Any] = {"running": {"startedAt": "2026-03-02T06:00:00Z"}}


@pytest.mark.parametrize(
    ("init", "containers", "stopped"),
    [
        ([OVER], [OVER], True),
        ([OVER], [RUNS], False),
        ([OVER, RUNS], [OVER], False),  # a sidecar
        ([], [], False),  # a pod that was lost with its node
    ],
)
def test_a_pod_has_stopped_when_the_kubelet_says_so_of_all_its_containers(
    init: list[dict[str, Any]], containers: list[dict[str, Any]], stopped: bool
) -> None:
    statuses = {
        "initContainerStatuses": [{"name": f"init-{n}", "state": state} for n, state in enumerate(init)],
        "containerStatuses": [{"name": "runner", "state": state} for state in containers],
    }
    metadata = {"name": "lab-0", "creationTimestamp": "2026-03-02T06:00:00Z"}
    pod = parse_runner_pod({"metadata": metadata, "status": {"phase": "Running", **statuses}})
    assert pod.stopped is stopped


@pytest.mark.parametrize(("grace", "seconds"), [({}, 3600), ({"gracePeriodSeconds": 90}, 90)])
def test_how_long_a_job_may_take_when_its_pod_is_deleted_is_read_from_the_pod(
    grace: dict[str, Any], seconds: int
) -> None:
    runner = {"tokenSecret": {"name": "runner"}, "tags": ["hpc"], **grace}
    raw = build_runner_pod(build_pool(runner=runner), build_spec(runner=runner), SETTINGS, 0, "t")
    raw["metadata"]["creationTimestamp"] = "2026-03-02T06:00:00Z"
    assert parse_runner_pod(raw).grace == timedelta(seconds=seconds)


SIDECAR = {"name": "istio-proxy", "state": RUNS}


@pytest.mark.parametrize(
    ("end", "more", "state", "reason"),
    [
        ({"exitCode": 0, "reason": "Completed"}, {}, RunnerPodState.FINISHED, ""),
        ({"exitCode": 1, "reason": "Error"}, {}, RunnerPodState.FAILED, "Error"),
        ({"exitCode": 137, "reason": "OOMKilled"}, {}, RunnerPodState.FAILED, "OOMKilled"),
        ({"exitCode": 1}, {"deletionTimestamp": "2026-03-02T06:00:00Z"}, RunnerPodState.FAILED, "PodDeleted"),
    ],
)
def test_a_pod_has_ended_with_its_runner_though_a_sidecar_runs_on(
    end: dict[str, Any], more: dict[str, Any], state: RunnerPodState, reason: str
) -> None:
    statuses = [SIDECAR, {"name": "runner", "state": {"terminated": end}}]
    metadata = {"name": "lab-0", "creationTimestamp": "2026-03-02T06:00:00Z", **more}
    status = {"phase": "Running", "containerStatuses": statuses}
    pod = parse_runner_pod({"metadata": metadata, "spec": {"nodeName": "n"}, "status": status})
    assert (pod.state, pod.reason, pod.stopped) == (state, reason, False)


def test_what_the_runner_ended_of_is_told_and_not_what_its_sidecars_did() -> None:
    killed = {"terminated": {"exitCode": 137, "reason": "Error"}}
    status = {
        "phase": "Failed",
        "initContainerStatuses": [{"name": "docker", "state": killed}],
        "containerStatuses": [
            {"name": "istio-proxy", "state": killed},
            {"name": "runner", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}},
        ],
    }
    metadata = {"name": "lab-0", "creationTimestamp": "2026-03-02T06:00:00Z"}
    assert parse_runner_pod({"metadata": metadata, "status": status}).reason == "OOMKilled"


@pytest.mark.parametrize(
    ("job", "read"), [("7", "7"), ("any", "any"), ("nightly", "any"), ("9" * 5000, "any"), ("", None)]
)
def test_what_a_pod_was_sent_for_is_read_whatever_stands_there(job: str, read: str | None) -> None:
    assert read_pod(annotations={"bessemer.dev/job": job}).job == read


@pytest.mark.parametrize("sent", ["yesterday", "2026-03-02T06:00:00"])
def test_a_time_of_sending_that_is_none_is_passed_over(sent: str) -> None:
    assert read_pod(annotations={"bessemer.dev/job": "7", "bessemer.dev/sent-at": sent}).sent is None


@pytest.mark.parametrize(("slot", "ours"), [("0", True), ("12", True), ("abc", False), ("-1", False), ("", False)])
def test_a_pod_without_the_number_of_a_slot_is_foreign(slot: str, ours: bool) -> None:
    owner = {"kind": "RunnerPool", "name": "lab", "uid": "pool", "controller": True}
    pod = read_pod(name=f"lab-runner-{slot}", labels={"bessemer.dev/slot": slot}, ownerReferences=[owner])
    assert (pod.belongs_to("pool"), pod.belongs_to("another")) == (ours, False)


@pytest.mark.parametrize("name", ["lab-runner-1", "innocent", "lab-runner-00"])
def test_a_pod_that_copies_labels_and_owner_is_foreign_without_the_name_of_its_slot(name: str) -> None:
    owner = {"kind": "RunnerPool", "name": "lab", "uid": "pool", "controller": True}
    assert not read_pod(name=name, labels={"bessemer.dev/slot": "0"}, ownerReferences=[owner]).belongs_to("pool")


def read_pod(**metadata: Any) -> RunnerPodFact:
    return parse_runner_pod({"metadata": {"name": "lab-0", "creationTimestamp": "2026-03-02T06:00:00Z", **metadata}})

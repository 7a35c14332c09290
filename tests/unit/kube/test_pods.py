"""Raw pods, as the kubelet and the scheduler write them, fall into the right buckets."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.kube.pods import PodState, parse_pod

CREATED = "2026-11-23T12:00:00Z"


def pod(*, node: str | None = "node1", deleted: int | None = None, **status: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": "oxygen-verify-1",
        "uid": "u",
        "creationTimestamp": CREATED,
        "labels": {"bessemer.dev/phase": "Verify", "bessemer.dev/attempt": "1"},
        "annotations": {"bessemer.dev/input-digest": "d"},
        "finalizers": ["bessemer.dev/result"],
        "ownerReferences": [{"uid": "cb", "kind": "ClusterBuild", "name": "oxygen", "controller": True}],
    }
    if deleted is not None:
        metadata |= {"deletionTimestamp": CREATED, "deletionGracePeriodSeconds": deleted}
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status}


def container(**state: Any) -> list[dict[str, Any]]:
    return [{"name": "phase", "state": state}]


ENDED = {"exitCode": 1, "reason": "Error", "message": "{}", "finishedAt": "2026-11-23T12:00:09Z"}
OUT_OF_MEMORY = {"exitCode": 137, "reason": "OOMKilled"}
DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}]


@pytest.mark.parametrize(
    ("raw", "state", "reason"),
    [
        (pod(node=None), PodState.SCHEDULING, ""),
        (
            pod(node=None, conditions=[{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1 nodes"}]),
            PodState.SCHEDULING,
            "Unschedulable",
        ),
        (
            pod(phase="Pending", containerStatuses=container(waiting={"reason": "ContainerCreating"})),
            PodState.STARTING,
            "",
        ),
        (
            pod(phase="Pending", containerStatuses=container(waiting={"reason": "ImagePullBackOff"})),
            PodState.PULLING,
            "ImagePullBackOff",
        ),
        (
            pod(phase="Pending", initContainerStatuses=container(waiting={"reason": "ErrImageNeverPull"})),
            PodState.PULLING,
            "ErrImageNeverPull",
        ),
        (
            pod(phase="Pending", containerStatuses=container(waiting={"reason": "CreateContainerConfigError"})),
            PodState.STARTING,
            "CreateContainerConfigError",
        ),
        (pod(phase="Running", containerStatuses=container(running={})), PodState.RUNNING, ""),
        (pod(phase="Running", deleted=30, containerStatuses=container(running={})), PodState.TERMINATING, ""),
        (pod(phase="Running", deleted=0, containerStatuses=container(running={})), PodState.LOST, "PodDeleted"),
        (pod(node=None, deleted=0), PodState.LOST, "PodDeleted"),
        (pod(phase="Succeeded", containerStatuses=container(terminated={"exitCode": 0})), PodState.SUCCEEDED, ""),
        (pod(phase="Succeeded", deleted=0), PodState.SUCCEEDED, ""),
        (pod(phase="Running", containerStatuses=container(terminated={"exitCode": 0})), PodState.SUCCEEDED, ""),
        (
            pod(phase="Running", deleted=30, containerStatuses=container(terminated={"exitCode": 0})),
            PodState.SUCCEEDED,
            "",
        ),
        (pod(phase="Failed", containerStatuses=container(terminated=ENDED)), PodState.FAILED, "Error"),
        (pod(phase="Failed", containerStatuses=container(terminated=OUT_OF_MEMORY)), PodState.FAILED, "OOMKilled"),
        (pod(phase="Failed", deleted=0, containerStatuses=container(terminated=ENDED)), PodState.LOST, "PodDeleted"),
        (pod(phase="Failed", reason="DeadlineExceeded"), PodState.FAILED, "DeadlineExceeded"),
        (pod(phase="Failed", reason="Evicted", message="low on memory"), PodState.LOST, "Evicted"),
        (pod(phase="Failed", conditions=DISRUPTED), PodState.LOST, "EvictionByEvictionAPI"),
        (
            pod(phase="Failed", initContainerStatuses=container(terminated={"exitCode": 128, "message": "no repo"})),
            PodState.FAILED,
            "InitContainerFailed",
        ),
        (pod(phase="Failed"), PodState.FAILED, "Error"),
    ],
)
def test_a_pod_falls_into_its_bucket(raw: dict[str, Any], state: PodState, reason: str) -> None:
    fact = parse_pod(raw)
    assert (fact.state, fact.reason) == (state, reason)


INJECTED: dict[str, list[dict[str, Any]]] = {
    "alone": [],
    "starts never": [{"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff"}}}],
    "runs on": [{"name": "proxy", "state": {"running": {}}}],
}


@pytest.mark.parametrize("others", INJECTED.values(), ids=INJECTED)
@pytest.mark.parametrize("phase", ["Pending", "Running"])
@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        ({"exitCode": 0, "reason": "Completed"}, PodState.SUCCEEDED, ""),
        (ENDED, PodState.FAILED, "Error"),
        (OUT_OF_MEMORY, PodState.FAILED, "OOMKilled"),
        # The kubelet stops the pod: a second later it says whether that was an eviction or the pod's deadline.
        ({"exitCode": 137, "reason": "Error"}, PodState.RUNNING, ""),
        ({"exitCode": 143, "reason": "Error"}, PodState.RUNNING, ""),
    ],
)
def test_a_phase_has_ended_with_its_own_container_whatever_is_injected_beside_it(
    others: list[dict[str, Any]], phase: str, end: dict[str, Any], state: PodState, reason: str
) -> None:
    fact = parse_pod(pod(phase=phase, containerStatuses=[*others, *container(terminated=end)]))
    assert (fact.state, fact.reason) == (state, reason)


@pytest.mark.parametrize("exit_code", [137, 143])
def test_a_phase_that_was_stopped_ends_as_its_pod_says(exit_code: int) -> None:
    ended = container(terminated={"exitCode": exit_code, "reason": "Error", "message": "{}"})
    evicted = parse_pod(pod(phase="Failed", reason="Evicted", message="low on disk", containerStatuses=ended))
    assert (evicted.state, evicted.reason) == (PodState.LOST, "Evicted")
    late = parse_pod(pod(phase="Failed", reason="DeadlineExceeded", containerStatuses=ended))
    assert (late.state, late.reason) == (PodState.FAILED, "DeadlineExceeded")
    deleted = parse_pod(pod(phase="Running", deleted=30, containerStatuses=ended))
    assert deleted.state == PodState.TERMINATING


def test_what_we_wrote_on_the_pod_is_read_back() -> None:
    fact = parse_pod(pod(phase="Failed", containerStatuses=container(terminated=ENDED)))
    assert (fact.phase, fact.attempt, fact.input_digest, fact.owner_uid) == ("Verify", 1, "d", "cb")
    assert (fact.result, fact.exit_code, fact.holds_result) == ("{}", 1, True)
    assert fact.finished is not None
    assert (fact.finished - fact.created).total_seconds() == 9

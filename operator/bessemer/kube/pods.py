"""Raw pod -> PodFact: what matters of a phase pod, classified once; the buckets are those of runner pods, too.

Source of the fields: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from bessemer.wellknown import ATTEMPT_LABEL, INPUT_DIGEST_ANNOTATION, PHASE_LABEL, RESULT_FINALIZER

PHASE_CONTAINER = "phase"
"""Name of the container whose termination message is the pod's result."""
PLAYBOOK_CONTAINER = "playbooks"
"""Name of the init container that checks the site's own playbooks out, in the pods that have one."""
_QUIET_REASONS = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons of waiting containers that say no more than that they wait."""


class PodState(StrEnum):
    """The buckets that pods fall into."""

    SCHEDULING = "Scheduling"
    STARTING = "Starting"
    PULLING = "Pulling"
    RUNNING = "Running"
    TERMINATING = "Terminating"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    LOST = "Lost"


SETTLED = frozenset({PodState.SUCCEEDED, PodState.FAILED, PodState.LOST})
"""States in which nothing of the pod runs any more, and nothing will."""
WAITING = frozenset({PodState.SCHEDULING, PodState.STARTING, PodState.PULLING})
"""States in which nothing of the pod has run yet."""


@dataclass(frozen=True)
class PodFact:
    """A phase pod as it was read."""

    name: str
    uid: str
    owner_uid: str
    phase: str
    attempt: int
    state: PodState
    created: datetime
    input_digest: str = ""
    reason: str = ""
    """Why it waits, failed or was lost, as Kubernetes says it."""
    message: str = ""
    """The same in a sentence."""
    result: str = ""
    """The termination message of the phase's container."""
    exit_code: int | None = None
    finished: datetime | None = None
    deleting: bool = False
    holds_result: bool = False
    """Whether our finalizer keeps it."""


def parse_pod(raw: Mapping[str, Any]) -> PodFact:
    """Classify a raw pod of ours."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    labels = metadata.get("labels") or {}
    state, reason, message = classify(raw, PHASE_CONTAINER)
    terminated = _terminated(status.get("containerStatuses")) or {}
    finished = terminated.get("finishedAt")
    return PodFact(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        owner_uid=next(
            (owner["uid"] for owner in metadata.get("ownerReferences") or () if owner.get("controller")), ""
        ),
        phase=labels.get(PHASE_LABEL, ""),
        attempt=int(labels.get(ATTEMPT_LABEL, "0")),
        state=state,
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        input_digest=(metadata.get("annotations") or {}).get(INPUT_DIGEST_ANNOTATION, ""),
        reason=reason,
        message=message,
        result=terminated.get("message", ""),
        exit_code=terminated.get("exitCode"),
        finished=datetime.fromisoformat(finished) if finished else None,
        deleting="deletionTimestamp" in metadata,
        holds_result=RESULT_FINALIZER in (metadata.get("finalizers") or ()),
    )


def classify(raw: Mapping[str, Any], container: str, *, failure_is_final: bool = False) -> tuple[PodState, str, str]:
    """Give the bucket of a pod whose work is done in a container of that name, with a reason and a message.

    With ``failure_is_final`` that container's end by an error is the pod's, too, whatever else still runs in it, such
    as a sidecar that somebody injects. Else the pod's own end is waited for: it tells what failed from what was lost.
    """
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    phase = status.get("phase", "Pending")
    deleting = "deletionTimestamp" in metadata
    exit_code = get_terminated(raw, container).get("exitCode")
    # A container that has ended is never started again. The kubelet says so of the pod itself only a second later, when
    # it has taken the pod down, which is nothing to wait for, or not at all while another container runs.
    if phase == "Succeeded" or (phase != "Failed" and exit_code == 0):
        return PodState.SUCCEEDED, "", ""
    if phase == "Failed" or (failure_is_final and exit_code is not None):
        return _classify_failed(raw, container, deleting=deleting)
    if deleting:
        # With a grace period of 0 the kubelet has said its last word; an unscheduled pod never had a kubelet.
        if metadata.get("deletionGracePeriodSeconds") == 0 or not spec.get("nodeName"):
            return PodState.LOST, "PodDeleted", "the pod was deleted before it had finished"
        return PodState.TERMINATING, "", ""
    if phase == "Running" and not _waiting(status.get("containerStatuses")):
        return PodState.RUNNING, "", ""
    return _classify_waiting(spec, status)


def _classify_failed(raw: Mapping[str, Any], container: str, *, deleting: bool) -> tuple[PodState, str, str]:
    status = raw.get("status") or {}
    reason, message = status.get("reason", ""), status.get("message", "")
    disrupted = next((c for c in status.get("conditions") or () if c["type"] == "DisruptionTarget"), None)
    if disrupted is not None and disrupted.get("status") == "True":
        return PodState.LOST, disrupted.get("reason", "Disrupted"), disrupted.get("message", "")
    if reason in ("Evicted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "Terminated"):
        return PodState.LOST, reason, message
    if deleting:
        return PodState.LOST, "PodDeleted", "the pod was deleted before it had finished"
    if reason:
        return PodState.FAILED, reason, message
    return PodState.FAILED, *_explain_exit(raw, container)


def _explain_exit(raw: Mapping[str, Any], container: str) -> tuple[str, str]:
    """Say which container's error a pod failed by: its main one's, if that had any, whatever became of others then."""
    status, ours = raw.get("status") or {}, get_terminated(raw, container)
    if ours.get("exitCode"):
        return ours.get("reason", "Error"), ""
    for statuses in ("initContainerStatuses", "containerStatuses"):
        terminated = _terminated(status.get(statuses))
        if terminated is not None and terminated.get("exitCode") != 0:
            text = terminated.get("message", "") if statuses.startswith("init") else ""
            init = "InitContainerFailed" if statuses.startswith("init") else terminated.get("reason", "Error")
            return init, text
    return "Error", status.get("message", "")


def _classify_waiting(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[PodState, str, str]:
    if not spec.get("nodeName"):
        scheduled: Mapping[str, Any] = next(
            (c for c in status.get("conditions") or () if c["type"] == "PodScheduled"), {}
        )
        return PodState.SCHEDULING, scheduled.get("reason", ""), scheduled.get("message", "")
    waiting = _waiting(status.get("initContainerStatuses")) or _waiting(status.get("containerStatuses")) or {}
    reason = waiting.get("reason", "")
    if "Image" in reason:
        return PodState.PULLING, reason, waiting.get("message", "")
    return PodState.STARTING, "" if reason in _QUIET_REASONS else reason, waiting.get("message", "")


def _waiting(statuses: list[Mapping[str, Any]] | None) -> Mapping[str, Any] | None:
    return next((s["state"]["waiting"] for s in statuses or () if (s.get("state") or {}).get("waiting")), None)


def get_terminated(raw: Mapping[str, Any], container: str) -> Mapping[str, Any]:
    """Give how a container ended; empty where it has not."""
    statuses = (raw.get("status") or {}).get("containerStatuses") or ()
    return _terminated([found for found in statuses if found.get("name") == container]) or {}


def _terminated(statuses: list[Mapping[str, Any]] | None) -> Mapping[str, Any] | None:
    return next((s["state"]["terminated"] for s in statuses or () if (s.get("state") or {}).get("terminated")), None)

"""Raw pod -> PodFact: what matters of a phase pod, classified once; the buckets are those of runner pods, too.

Source of the fields: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from bessemer.api.reasons import INIT_CONTAINER_FAILED
from bessemer.api.wellknown import (
    ATTEMPT_LABEL,
    INPUT_DIGEST_ANNOTATION,
    PHASE_LABEL,
    RESULT_FINALIZER,
    SEAL_ANNOTATION,
)
from bessemer.foreign import Unreadable, make_line, parse_int
from bessemer.kube.podmodel import ContainerStatus, Pod, Terminated, Waiting, read_pod

PHASE_CONTAINER = "phase"
"""Name of the container whose termination message is the pod's result."""
PLAYBOOK_CONTAINER = "playbooks"
"""Name of the init container that checks the site's own playbooks out, in the pods that have one."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
MOST_ATTEMPTS = 10**9
STOPPED = frozenset({128 + signal.SIGKILL, 128 + signal.SIGTERM})
"""Exit codes of a container that was ended from outside."""
OUT_OF_MEMORY = "OOMKilled"
"""Why a container was killed that had used more memory than its limit; its pod need not end with it."""
_QUIET_REASONS = frozenset({"", "ContainerCreating", "PodInitializing"})
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
    seal: str = ""
    """What proves that we made it."""
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
    """Return what matters of a raw phase pod, whatever stands in it; an attempt that is no number is 0."""
    pod = read_pod(raw)
    metadata = pod.metadata
    state, reason, message = classify(pod, PHASE_CONTAINER)
    ended = get_terminated(pod, PHASE_CONTAINER)
    return PodFact(
        name=metadata.name,
        uid=metadata.uid,
        owner_uid=metadata.controller.uid,
        phase=metadata.labels.get(PHASE_LABEL, ""),
        attempt=_parse_attempt(metadata.labels.get(ATTEMPT_LABEL)),
        state=state,
        created=metadata.creation_timestamp or LONG_AGO,
        input_digest=metadata.annotations.get(INPUT_DIGEST_ANNOTATION, ""),
        seal=metadata.annotations.get(SEAL_ANNOTATION, ""),
        reason=reason,
        message=message,
        result=ended.message,
        exit_code=ended.exit_code,
        finished=ended.finished_at,
        deleting=metadata.deleting,
        holds_result=RESULT_FINALIZER in metadata.finalizers,
    )


def _parse_attempt(text: object) -> int:
    try:
        return parse_int(text, most=MOST_ATTEMPTS)
    except Unreadable:
        return 0


def classify(pod: Pod, container: str, *, stop_is_final: bool = False) -> tuple[PodState, str, str]:
    """Return the bucket of a pod whose work is done in a container of that name, with a reason and a message.

    That container's end decides, and no other that is injected beside it: the pod's phase is Pending while any
    container has never started, and Failed when any has ended by an error. Only after an exit code of STOPPED the pod's
    own end is waited for, unless ``stop_is_final``: the kubelet is ending the whole pod then, and soon says why.
    """
    metadata, own = pod.metadata, pod.status.find_container(container)
    phase, ended = pod.status.phase, get_terminated(pod, container)
    # A container that has ended is never started again. The kubelet says so of the pod itself only a second later, when
    # it has taken the pod down, which is nothing to wait for, or not at all while another container runs.
    if phase == "Succeeded" or ended.exit_code == 0:
        return PodState.SUCCEEDED, "", ""
    is_stopped = ended.exit_code in STOPPED and ended.reason != OUT_OF_MEMORY
    if phase == "Failed" or (ended.exit_code is not None and (stop_is_final or not is_stopped)):
        return _classify_failed(pod, container)
    if metadata.deleting:
        # With a grace period of 0 the kubelet has said its last word; an unscheduled pod never had a kubelet.
        if metadata.deletion_grace_period_seconds == 0 or not pod.spec.node_name:
            return PodState.LOST, "PodDeleted", "the pod was deleted before it had finished"
        return PodState.TERMINATING, "", ""
    if own.has_started if own is not None else phase == "Running":
        return PodState.RUNNING, "", ""
    return _classify_waiting(pod, own)


def _classify_failed(pod: Pod, container: str) -> tuple[PodState, str, str]:
    status = pod.status
    disrupted = next((condition for condition in status.conditions if condition.type == "DisruptionTarget"), None)
    if disrupted is not None and disrupted.status == "True":
        return PodState.LOST, disrupted.reason or "Disrupted", disrupted.message
    if status.reason in ("Evicted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "Terminated"):
        return PodState.LOST, status.reason, status.message
    if pod.metadata.deleting:
        return PodState.LOST, "PodDeleted", "the pod was deleted before it had finished"
    if status.reason:
        return PodState.FAILED, status.reason, status.message
    return PodState.FAILED, *_explain_exit(pod, container)


def _explain_exit(pod: Pod, container: str) -> tuple[str, str]:
    """Return which container's error a pod failed by: its main one's, if that had any, whatever became of
    others then.
    """
    ours = get_terminated(pod, container)
    if ours.exit_code:
        return ours.reason or "Error", ""
    for init in _list_terminated(pod.status.init_container_statuses):
        if init.exit_code != 0:
            return INIT_CONTAINER_FAILED, make_line(init.message)
    for other in _list_terminated(pod.status.container_statuses):
        if other.exit_code != 0:
            return other.reason or "Error", ""
    return "Error", pod.status.message


def _classify_waiting(pod: Pod, own: ContainerStatus | None) -> tuple[PodState, str, str]:
    status = pod.status
    if not pod.spec.node_name:
        scheduled = next((condition for condition in status.conditions if condition.type == "PodScheduled"), None)
        return PodState.SCHEDULING, scheduled.reason if scheduled else "", scheduled.message if scheduled else ""
    # Init containers come first; then all others are started one by one, and what keeps one does not keep the next.
    order = (*status.init_container_statuses, *((own,) if own is not None else ()), *status.container_statuses)
    found = [each.state.waiting for each in order if each.state.waiting is not None]
    waiting = next((each for each in found if each.reason not in _QUIET_REASONS), Waiting())
    if "Image" in waiting.reason:
        return PodState.PULLING, waiting.reason, waiting.message
    return PodState.STARTING, waiting.reason, waiting.message


def get_terminated(pod: Pod, container: str) -> Terminated:
    """Return how a container ended; without fields where it has not."""
    found = pod.status.find_container(container)
    return found.state.terminated or Terminated() if found is not None else Terminated()


def _list_terminated(containers: Iterable[ContainerStatus]) -> list[Terminated]:
    return [each.state.terminated for each in containers if each.state.terminated is not None]

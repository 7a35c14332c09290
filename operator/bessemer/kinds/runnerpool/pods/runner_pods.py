"""Parses a raw pod into a RunnerPodFact and classifies it. Pure.

Labels, annotations and the termination message are read leniently: users who may change pods can write anything into
them, or create a pod that looks like a runner pod, and a job can write the termination message of its pod.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bessemer.api.names import runner_pod_name
from bessemer.api.wellknown import JOB_ANNOTATION, SENT_ANNOTATION, SLOT_LABEL, TEMPLATE_ANNOTATION
from bessemer.foreign import Unreadable, decode_json, make_line, parse_time
from bessemer.kinds.runnerpool.facts import ANY_JOB, END_UNREADABLE, NO_SLOT, RunnerPodFact, RunnerPodState
from bessemer.kinds.runnerpool.render.manifest import END_SECONDS, RUNNER_CONTAINER
from bessemer.kube.podmodel import ContainerStatus, Pod, PodMetadata, PodStatus, read_pod
from bessemer.kube.pods import SETTLED, PodState, classify, get_terminated

MESSAGE_BYTES = 4096
"""Maximum size of a container's termination message. Source:
https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/"""
MOST_CLAIMED = 64
"""Maximum number of jobs in a termination message: more than one only if GitLab cancelled the earlier ones."""
LONGEST_GRACE = timedelta(days=366)
"""A longer grace period is treated as unlimited."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
JobNumber = Annotated[int, Field(ge=1, lt=10**18)]


class _End(BaseModel):
    """Termination message of the entry point."""

    model_config = ConfigDict(strict=True, extra="ignore")

    outcome: Literal["NoJob", "JobTaken", "Forbidden", "NoConfiguration", "NotAnswered"]
    jobs: list[JobNumber] = Field(max_length=MOST_CLAIMED)
    said: Annotated[str, AfterValidator(make_line)] = ""
    """Why it got no job, in the words of GitLab's runner."""


ENDS = {
    "Forbidden": "GitLab gives the runner no job (403): its token is not good any more, or the runner was deleted",
    "NoConfiguration": "the runner's configuration could not be written to the pod's volume in memory",
}
"""Sentences for outcomes that the entry point itself causes."""
NOT_ANSWERED = "NotAnswered"
"""Outcome of a pod that asks for any job and whose requests have failed for minutes; the runner's message says why."""
UNREADABLE = "what it left at its end is not of its entry point's making: its job may have written it"


def parse_runner_pod(raw: Mapping[str, Any]) -> RunnerPodFact:
    """Return the facts of a raw runner pod with any contents; an unreadable termination message counts as a failure."""
    pod = read_pod(raw)
    metadata, status = pod.metadata, pod.status
    own = status.find_container(RUNNER_CONTAINER)
    state, reason, message = classify(pod, RUNNER_CONTAINER, stop_is_final=True)
    last_word = get_terminated(pod, RUNNER_CONTAINER).message
    end = _parse_end(last_word)
    if end is None and last_word and state is PodState.SUCCEEDED:
        state, reason, message = PodState.FAILED, END_UNREADABLE, UNREADABLE
    elif state is PodState.FAILED and not message:
        reason, message = _explain_end(end, reason)
    job = _parse_job(metadata.annotations.get(JOB_ANNOTATION))
    created = metadata.creation_timestamp or LONG_AGO
    started = _find_start(own)
    return RunnerPodFact(
        name=metadata.name,
        uid=metadata.uid,
        owner_uid=metadata.controller.uid,
        slot=_find_slot(metadata),
        state=_classify(state, job, deleting=metadata.deleting),
        created=created,
        version=metadata.resource_version,
        job=job,
        sent=_parse_sent(metadata.annotations.get(SENT_ANNOTATION)),
        template=metadata.annotations.get(TEMPLATE_ANNOTATION, ""),
        started=started,
        finished=get_terminated(pod, RUNNER_CONTAINER).finished_at
        or (_find_last_change(status, created) if state in SETTLED else None),
        node=pod.spec.node_name,
        deadline=metadata.deletion_timestamp,
        grace=_compute_grace(pod),
        stopped=_has_stopped(status),
        recalled=metadata.deleting and started is None,
        claimed=tuple(end.jobs) if end is not None else (),
        said=end.said if end is not None else "",
        silent=state in SETTLED and end is None,
        reason=reason,
        message=message,
    )


def _parse_end(message: str) -> _End | None:
    """Return the termination message; None if it is empty or not from the entry point."""
    try:
        return _End.model_validate(decode_json(message, most_bytes=MESSAGE_BYTES))
    except (Unreadable, ValidationError):
        return None


def _explain_end(end: _End | None, reason: str) -> tuple[str, str]:
    """Return the entry point's reason and a sentence; otherwise the reason given by Kubernetes."""
    if end is None:
        return reason, ""
    if end.outcome == NOT_ANSWERED:
        return end.outcome, end.said
    return (end.outcome, ENDS[end.outcome]) if end.outcome in ENDS else (reason, end.said)


def _classify(state: PodState, job: str | None, *, deleting: bool) -> RunnerPodState:
    if state is PodState.SUCCEEDED:
        return RunnerPodState.FINISHED
    if state in SETTLED:
        return RunnerPodState.FAILED
    if deleting:
        return RunnerPodState.DRAINING
    if state is PodState.RUNNING:
        return RunnerPodState.IDLE if job is None else RunnerPodState.RUNNING
    return RunnerPodState.STARTING


def _find_slot(metadata: PodMetadata) -> int:
    """Return the slot of a pod with the name that its slot has in its pool; otherwise NO_SLOT."""
    text = metadata.labels.get(SLOT_LABEL, "")
    if not re.fullmatch("0|[1-9][0-9]{0,3}", text):
        return NO_SLOT
    return int(text) if metadata.name == runner_pod_name(metadata.controller.name, int(text)) else NO_SLOT


def _parse_job(text: str | None) -> str | None:
    """Return the job that a pod was sent for; any if the value is not a number."""
    if not text:
        return None
    return text if re.fullmatch("[1-9][0-9]{0,17}", text) else ANY_JOB


def _parse_sent(text: str | None) -> datetime | None:
    try:
        return parse_time(text)
    except Unreadable:
        return None


def _compute_grace(pod: Pod) -> timedelta | None:
    seconds = pod.spec.termination_grace_period_seconds
    if seconds is None or abs(seconds) > LONGEST_GRACE.total_seconds():
        return None
    return timedelta(seconds=seconds - END_SECONDS)


def _find_start(own: ContainerStatus | None) -> datetime | None:
    """Return when a container started. For one that could not start (StartError), containerd reports a date in 1970."""
    if own is None:
        return None
    state = own.state.running or own.state.terminated
    started = state.started_at if state is not None else None
    return None if started == LONG_AGO else started


def _has_stopped(status: PodStatus) -> bool:
    containers = (*status.init_container_statuses, *status.container_statuses)
    return bool(containers) and all(container.state.terminated is not None for container in containers)


def _find_last_change(status: PodStatus, created: datetime) -> datetime:
    """Return the latest change of a pod that ended without a report on its container: it was lost with its node."""
    changes = [condition.last_transition_time for condition in status.conditions]
    return max((change for change in changes if change is not None), default=created)

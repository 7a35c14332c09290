"""Raw pod -> RunnerPodFact: what matters of a runner pod, classified once. Pure.

Labels and annotations are read leniently: whoever may change pods may have written anything into them, or made a pod
that looks like one of ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bessemer.kube.pods import SETTLED, PodState, classify, get_terminated
from bessemer.resource import parse_time
from bessemer.runnerpool.facts import ANY_JOB, NO_SLOT, RunnerPodFact, RunnerPodState
from bessemer.runnerpool.manifest import END_SECONDS, RUNNER_CONTAINER
from bessemer.wellknown import JOB_ANNOTATION, SENT_ANNOTATION, SLOT_LABEL, TEMPLATE_ANNOTATION


def parse_runner_pod(raw: Mapping[str, Any]) -> RunnerPodFact:
    """Classify a raw runner pod of ours."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    annotations = metadata.get("annotations") or {}
    state, reason, message = classify(raw, RUNNER_CONTAINER, failure_is_final=True)
    job = _parse_job(annotations.get(JOB_ANNOTATION))
    end = get_terminated(raw, RUNNER_CONTAINER)
    finished = parse_time(end.get("finishedAt")) or (_last_change(status, metadata) if state in SETTLED else None)
    claimed = _parse_claimed(end.get("message", ""))
    if state is PodState.FAILED and not message:
        reason, message = _explain_end(end.get("message", ""), reason)
    controller: Mapping[str, Any] = next(
        (owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")), {}
    )
    return RunnerPodFact(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        owner_uid=controller.get("uid", ""),
        slot=_parse_slot((metadata.get("labels") or {}).get(SLOT_LABEL, "")),
        state=_classify(state, job, deleting="deletionTimestamp" in metadata),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        version=int(metadata.get("resourceVersion") or 0),
        job=job,
        sent=_parse_sent(annotations.get(SENT_ANNOTATION)),
        template=annotations.get(TEMPLATE_ANNOTATION, ""),
        started=_started(status),
        finished=finished,
        grace=_parse_grace(raw.get("spec") or {}),
        stopped=_has_stopped(status),
        recalled="deletionTimestamp" in metadata and _started(status) is None,
        claimed=claimed or (),
        silent=state in SETTLED and claimed is None,
        reason=reason,
        message=message,
    )


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


def _parse_slot(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else NO_SLOT


def _parse_job(text: str | None) -> str | None:
    """Give what a pod was sent for. One that was sent for something that is no number asks GitLab for any job."""
    if not text:
        return None
    return text if re.fullmatch("[0-9]{1,18}", text) else ANY_JOB


def _parse_sent(text: str | None) -> datetime | None:
    try:
        sent = parse_time(text)
    except ValueError:
        return None
    return sent if sent is not None and sent.tzinfo is not None else None


def _parse_grace(spec: Mapping[str, Any]) -> timedelta | None:
    seconds = spec.get("terminationGracePeriodSeconds")
    return None if seconds is None else timedelta(seconds=seconds - END_SECONDS)


def _started(status: Mapping[str, Any]) -> datetime | None:
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        found = state.get("running") or state.get("terminated")
        if container.get("name") == RUNNER_CONTAINER and found:
            return parse_time(found.get("startedAt"))
    return None


def _has_stopped(status: Mapping[str, Any]) -> bool:
    states = [
        container.get("state") or {}
        for kind in ("initContainerStatuses", "containerStatuses")
        for container in status.get(kind) or ()
    ]
    return bool(states) and all("terminated" in state for state in states)


def _last_change(status: Mapping[str, Any], metadata: Mapping[str, Any]) -> datetime | None:
    """Give the time of the latest change of a pod that ended without word from its container: lost with its node."""
    changes = [condition.get("lastTransitionTime") for condition in status.get("conditions") or ()]
    return parse_time(max((change for change in changes if change), default=metadata["creationTimestamp"]))


def _parse_claimed(message: str) -> tuple[int, ...] | None:
    """Read which jobs a runner took from what it left at its end; None where that is not from it, or nothing."""
    try:
        jobs = json.loads(message)["jobs"]
        return tuple(int(job) for job in jobs)
    except (ValueError, TypeError, KeyError):
        return None


ENDS = {
    "Forbidden": "GitLab gives the runner no job (403): its token is not good any more, or the runner was deleted",
    "NoConfiguration": "the runner's configuration could not be written to the pod's volume in memory",
}
"""What the entry point says of an end that is its own doing."""


def _explain_end(message: str, reason: str) -> tuple[str, str]:
    """Give the reason that the entry point gave, and a sentence; the one that Kubernetes gave where it has none."""
    try:
        outcome = json.loads(message)["outcome"]
    except (ValueError, TypeError, KeyError):
        return reason, ""
    return (outcome, ENDS[outcome]) if outcome in ENDS else (reason, "")

"""What Kubernetes says of a pod that does not start and whose status has no reason: in its Warning events alone.

Such as FailedMount (kubelet) and FailedAttachVolume (attach-detach controller). Anyone who may create events in the
namespace may have written them, so that they are read as foreign data, and are shown and nothing more.
Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bessemer.foreign import Unreadable, make_line, parse_time
from bessemer.kube.protocol import CORE_EVENTS, Kubernetes

MOST_EVENTS = 50
"""Of one pod that are looked at. Kubernetes keeps one for each reason and message, and counts how often it came."""
STARTUP_REASONS = frozenset(
    {"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox", "NetworkNotReady"}
)
"""Reasons that are taken over as such; of any other event the reason stands in the sentence only: conditions must not
have words that an author of events chose. Source: pkg/kubelet/events/event.go in
https://github.com/kubernetes/kubernetes"""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_UID = re.compile(r"[0-9A-Za-z-]{1,64}")
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")


@dataclass(frozen=True)
class PodWarning:
    """The latest Warning event of a pod."""

    reason: str
    """One of STARTUP_REASONS; empty where it is another."""
    message: str
    """One line that may be shown anywhere."""


async def get_pod_warning(kubernetes: Kubernetes, namespace: str, uid: str) -> PodWarning | None:
    """Return the latest Warning event about the pod with that UID; None where there is none that can be read."""
    if not _UID.fullmatch(uid):
        return None
    fields = f"involvedObject.uid={uid},type=Warning"
    events = await kubernetes.list_objects(CORE_EVENTS, namespace, fields=fields, limit=MOST_EVENTS)
    readable = [event for event in events if _REASON.fullmatch(_get_text(event, "reason"))]
    latest = max(readable, key=_find_time, default=None)
    if latest is None:
        return None
    reason, message = latest["reason"], make_line(_get_text(latest, "message"))
    if reason in STARTUP_REASONS:
        return PodWarning(reason, message or reason)
    return PodWarning("", f"{reason}: {message}" if message else reason)


def _get_text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


def _find_time(event: Mapping[str, Any]) -> datetime:
    """Return when an event came last: its writers fill one of these fields each."""
    series = event.get("series")
    moments = [event.get("lastTimestamp"), event.get("eventTime")]
    moments += [series.get("lastObservedTime")] if isinstance(series, Mapping) else []
    return max(map(_parse_moment, moments))


def _parse_moment(value: object) -> datetime:
    try:
        return parse_time(value)
    except Unreadable:
        return _LONG_AGO

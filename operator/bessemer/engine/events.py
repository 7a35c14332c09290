"""Kubernetes Events about our objects. Repeated or too frequent ones are counted on one Event.

Events are for people: an Event that can't be written is logged and dropped; nothing waits for it.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from bessemer.clock import Now
from bessemer.engine.event_facts import EventFact
from bessemer.errors import BessemerError
from bessemer.foreign import make_line, make_text
from bessemer.kube.protocol import EVENTS, AlreadyExists, Kubernetes

CONTROLLER = "bessemer.dev/operator"
NOTE_LIMIT = 1024
"""Characters. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/"""
SIMILAR = 25
"""Different Events of one reason on one object in a window; any more are only counted. Kubernetes' own components have
a similar limit: https://pkg.go.dev/k8s.io/client-go/tools/record#EventCorrelator"""
WINDOW = timedelta(minutes=10)
MANY = f"more like these; no more than {SIMILAR} in {WINDOW.seconds // 60} minutes are written one by one"
_REMEMBERED = 4096
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Window:
    """Recent Events of one reason on one object."""

    began: datetime
    messages: set[str] = field(default_factory=set)


class EventRecorder:
    """Writes Events; counts repetitions of the same reason and message on the same object."""

    def __init__(self, kubernetes: Kubernetes, instance: str, now: Now) -> None:
        self._kubernetes = kubernetes
        self._instance = instance
        self._now = now
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._windows: OrderedDict[tuple[str, str], _Window] = OrderedDict()

    async def record(self, regarding: Mapping[str, Any], fact: EventFact) -> None:
        """Write or count one Event about the object with this reference (apiVersion, kind, namespace, name, uid)."""
        fact = replace(fact, reason=make_line(fact.reason, 128), message=make_text(fact.message, NOTE_LIMIT))
        fact = self._limit(regarding["uid"], fact)
        key = "\n".join((regarding["uid"], fact.type, fact.reason, fact.message))
        name = f"{regarding['name'][:200]}.{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        namespace, now = regarding["namespace"], self._now()
        try:
            if key not in self._counts and await self._create(name, regarding, fact, now):
                self._counts[key] = 1
            else:
                self._counts[key] = self._counts.get(key, 1) + 1
                series = {"count": max(2, self._counts[key]), "lastObservedTime": _micro_time(now)}
                if await self._kubernetes.patch_object(EVENTS, namespace, name, {"series": series}) is None:
                    del self._counts[key]  # Kubernetes deletes Events after an hour: create it again
                    if await self._create(name, regarding, fact, now):
                        self._counts[key] = 1
        except BessemerError as error:
            _log.warning("event %s on %s/%s not written: %s", fact.reason, namespace, regarding["name"], error)
        for memory in (self._counts, self._windows):
            while len(memory) > _REMEMBERED:
                memory.popitem(last=False)

    def _limit(self, uid: str, fact: EventFact) -> EventFact:
        """Return the Event itself, or one summary if there have been too many different Events of its reason."""
        group, now = (uid, fact.reason), self._now()
        window = self._windows.get(group)
        if window is None or now - window.began >= WINDOW:
            window = self._windows[group] = _Window(now)
        if fact.message not in window.messages and len(window.messages) >= SIMILAR:
            return replace(fact, message=MANY)
        window.messages.add(fact.message)
        return fact

    async def _create(self, name: str, regarding: Mapping[str, Any], fact: EventFact, now: datetime) -> bool:
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": regarding["namespace"]},
            "eventTime": _micro_time(now),
            "type": fact.type,
            "reason": fact.reason,
            "note": fact.message,
            "action": "Reconcile",
            "regarding": dict(regarding),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
        }
        try:
            await self._kubernetes.create_object(EVENTS, regarding["namespace"], body)
        except AlreadyExists:
            return False  # written before the operator restarted
        return True


def _micro_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""What kopf calls: every event only wakes the build that it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import kopf

from bessemer.clusterbuild.resource import KIND, PLURAL
from bessemer.clusterbuild.wakeups import WakeUps
from bessemer.resource import GROUP, VERSION
from bessemer.wellknown import BUILD_LABEL

Heard = Callable[[], None]


class Hearing:
    """When the watch streams last brought anything; the leader's own Lease changes every few seconds."""

    def __init__(self) -> None:
        self._last = monotonic()

    def note(self) -> None:
        """An event came."""
        self._last = monotonic()

    def silence(self) -> float:
        """Give the seconds since the last event."""
        return monotonic() - self._last


def build_registry(wakeups: WakeUps, hearing: Hearing) -> kopf.OperatorRegistry:
    """Give the handlers: builds, their pods, and the Lease that shows that events flow."""
    registry = kopf.OperatorRegistry()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def on_build(namespace: str | None, name: str | None, type: str | None, **_: Any) -> None:  # noqa: A002
        hearing.note()
        key = (namespace or "", name or "")
        if type == "DELETED":
            wakeups.forget(key)
            wakeups.wake_all()
        else:
            wakeups.wake(key)

    @kopf.on.event("v1", "pods", labels={BUILD_LABEL: kopf.PRESENT}, registry=registry)
    async def on_pod(namespace: str | None, meta: Mapping[str, Any], **_: Any) -> None:
        hearing.note()
        for owner in meta.get("ownerReferences") or ():
            if owner["kind"] == KIND:
                wakeups.wake((namespace or "", owner["name"]))

    @kopf.on.event("coordination.k8s.io", "v1", "leases", registry=registry)
    async def on_lease(**_: Any) -> None:
        hearing.note()

    return registry

"""What kopf calls for builds: every event only wakes the build that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from bessemer.api.base import GROUP, VERSION
from bessemer.api.clusterbuild.resource import KIND, PLURAL
from bessemer.api.wellknown import BUILD_LABEL
from bessemer.engine.hearing import Hearing
from bessemer.engine.loop import WakeUps


def register(registry: kopf.OperatorRegistry, wakeups: WakeUps, hearing: Hearing) -> None:
    """Add the handlers of builds and their pods."""

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def on_build(namespace: str | None, name: str | None, type: str | None, **_: Any) -> None:  # noqa: A002  kopf's
        hearing.note()
        key = (namespace or "", name or "")
        wakeups.wake(key)
        if type == "DELETED":
            wakeups.wake_all()

    @kopf.on.event("v1", "pods", labels={BUILD_LABEL: kopf.PRESENT}, registry=registry)
    async def on_pod(namespace: str | None, meta: Mapping[str, Any], **_: Any) -> None:
        hearing.note()
        for owner in meta.get("ownerReferences") or ():
            if owner.get("kind") == KIND:
                wakeups.wake((namespace or "", owner.get("name", "")))

"""What kopf calls: every event only wakes the build that it is about. Nothing else in the project knows kopf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from bessemer.clusterbuild.resource import KIND, PLURAL
from bessemer.clusterbuild.wakeups import WakeUps
from bessemer.hearing import Hearing
from bessemer.resource import GROUP, VERSION
from bessemer.wellknown import BUILD_LABEL, LEADER_LEASE


def build_registry(wakeups: WakeUps, hearing: Hearing) -> kopf.OperatorRegistry:
    """Give the handlers: builds, their pods, and the Lease that shows that events flow."""
    registry = kopf.OperatorRegistry()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def on_build(namespace: str | None, name: str | None, type: str | None, **_: Any) -> None:  # noqa: A002  kopf's
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


async def watch_cluster(wakeups: WakeUps, hearing: Hearing) -> None:
    """Watch until a signal ends it; raises where watching has become impossible."""
    options = kopf.OperatorSettings()
    options.posting.enabled = False
    options.scanning.disabled = True
    options.networking.error_backoffs = (0.2, 0.5, 1, 1, 2, 3, 5, 8, 13, 21, 30, 30, 30)
    options.watching.label_selectors["v1", "pods"] = BUILD_LABEL
    options.watching.field_selectors["coordination.k8s.io", "v1", "leases"] = f"metadata.name={LEADER_LEASE}"
    registry = build_registry(wakeups, hearing)

    @kopf.on.login(registry=registry)
    def login(**_: object) -> object:
        service_account = kopf.login_with_service_account(settings=options)
        return service_account or kopf.login_with_kubeconfig(settings=options)

    await kopf.operator(registry=registry, settings=options, standalone=True, clusterwide=True)

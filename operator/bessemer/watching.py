"""How we watch: one kopf operator for all kinds. With the kinds' handlers, the only module that knows kopf."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import kopf

from bessemer.hearing import Hearing
from bessemer.wellknown import LEADER_LEASE, MANAGED_BY, MANAGED_BY_LABEL

Registration = Callable[[kopf.OperatorRegistry], None]
"""Adds the handlers of a kind."""


def build_registry(kinds: Iterable[Registration], hearing: Hearing) -> kopf.OperatorRegistry:
    """Give the handlers of all kinds, and that of the Lease which shows that events flow."""
    registry = kopf.OperatorRegistry()
    for register in kinds:
        register(registry)

    @kopf.on.event("coordination.k8s.io", "v1", "leases", registry=registry)
    async def on_lease(**_: Any) -> None:
        hearing.note()

    return registry


async def watch_cluster(kinds: Iterable[Registration], hearing: Hearing) -> None:
    """Watch until a signal ends it; raises where watching has become impossible."""
    options = kopf.OperatorSettings()
    options.posting.enabled = False
    options.scanning.disabled = True
    options.networking.error_backoffs = (0.2, 0.5, 1, 1, 2, 3, 5, 8, 13, 21, 30, 30, 30)
    options.watching.label_selectors["v1", "pods"] = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
    options.watching.field_selectors["coordination.k8s.io", "v1", "leases"] = f"metadata.name={LEADER_LEASE}"
    registry = build_registry(kinds, hearing)

    @kopf.on.login(registry=registry)
    def login(**_: object) -> object:
        service_account = kopf.login_with_service_account(settings=options)
        return service_account or kopf.login_with_kubeconfig(settings=options)

    await kopf.operator(registry=registry, settings=options, standalone=True, clusterwide=True)

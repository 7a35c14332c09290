"""Order a build: pause, resume, abort, retry. An order is an annotation; the operator acts upon it."""

from __future__ import annotations

from enum import StrEnum

from bessemer.api.clusterbuild.names import KIND
from bessemer.api.wellknown import ABORT_ANNOTATION, PAUSE_ANNOTATION, RETRY_ANNOTATION
from bessemer.clock import get_now
from bessemer.console.session import Session
from bessemer.kinds.clusterbuild.resource import CLUSTER_BUILDS


class Order(StrEnum):
    """What can be ordered; the value is how it is reported."""

    PAUSE = "no new phase will start"
    RESUME = "goes on"
    ABORT = "is being stopped"
    RETRY = "is tried again"


def build_annotations(order: Order, moment: str) -> dict[str, str | None]:
    """Return the annotations that an order sets, and with None those that it removes."""
    match order:
        case Order.PAUSE:
            return {PAUSE_ANNOTATION: "true"}
        case Order.RESUME:
            return {PAUSE_ANNOTATION: None}
        case Order.ABORT:
            return {ABORT_ANNOTATION: "true"}
        case Order.RETRY:
            return {RETRY_ANNOTATION: moment, ABORT_ANNOTATION: None, PAUSE_ANNOTATION: None}


async def patch_annotations(session: Session, name: str, order: Order) -> None:
    """Write the order; raises Invalid where there is no such build."""
    await session.require(CLUSTER_BUILDS, KIND, name)
    patch = {"metadata": {"annotations": build_annotations(order, get_now().isoformat())}}
    await session.kubernetes.patch_object(CLUSTER_BUILDS, session.namespace, name, patch)

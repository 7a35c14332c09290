"""For how many more pods a namespace's ResourceQuotas have room. Pure.

Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from bessemer.runnerpool.facts import Headroom
from bessemer.runnerpool.podspec import Resources

_PLAIN = {"cpu": "requests.cpu", "memory": "requests.memory"}
"""Names in a quota that mean the same as the ones with a prefix."""


def compute_headroom(quotas: Iterable[Mapping[str, Any]], resources: Resources) -> Headroom | None:
    """Give the tightest limit; None where no quota counts pods like these."""
    cost = _compute_cost(resources)
    rooms: list[Headroom] = []
    for quota in quotas:
        if (quota.get("spec") or {}).get("scopes") or (quota.get("spec") or {}).get("scopeSelector"):
            continue  # counts some pods only: if it is these, Kubernetes says so when one is created
        status = quota.get("status") or {}
        for name, hard in (status.get("hard") or {}).items():
            each = cost.get(_PLAIN.get(name, name))
            if not each:
                continue
            used = (status.get("used") or {}).get(name, "0")
            left = (_parse(hard) - _parse(used)) / each
            text = f"ResourceQuota {quota['metadata']['name']}: {used} of {hard} {name} are used"
            rooms.append(Headroom(max(0, int(left)), text))
    return min(rooms, key=lambda room: room.pods, default=None)


def _compute_cost(resources: Resources) -> dict[str, Decimal]:
    """Give what one pod takes of each kind that a quota may count; a limit without a request is the request, too."""
    cost = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for name, value in {**resources.limits, **resources.requests}.items():
        cost[f"requests.{name}"] = _parse(value)
    for name, value in resources.limits.items():
        cost[f"limits.{name}"] = _parse(value)
    return cost


def _parse(quantity: str) -> Decimal:
    value: Decimal = parse_quantity(quantity)  # type: ignore[no-untyped-call]  # the official client lacks types
    return value

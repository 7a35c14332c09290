"""For how many more pods a namespace's ResourceQuotas have room. Pure.

Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from bessemer.runnerpool.facts import Headroom, JobPodFact, RunnerPodFact
from bessemer.runnerpool.podspec import Resources
from bessemer.runnerpool.spec import Mode, RunnerPoolSpec

QUOTA_SECONDS = 3
"""How often a pool that wants room looks whether there is some: Kubernetes tells nobody when a quota has room again."""
WANT_LASTS = timedelta(seconds=5 * QUOTA_SECONDS)
_PLAIN = {"cpu": "requests.cpu", "memory": "requests.memory"}
"""Names in a quota that mean the same as the ones with a prefix."""


def compute_runner_cost(spec: RunnerPoolSpec) -> dict[str, Decimal]:
    """Give what one more runner takes of each kind that a quota may count: its pod, and its job's if that is another.

    The pods of a manager's jobs are not the pool's to plan: GitLab's runner creates them as jobs come.
    """
    executor = spec.executor
    pods, parts = 1, [spec.pod.resources]
    if executor.docker is not None:
        parts.append(executor.docker.daemon_resources)
    if executor.kubernetes is not None and spec.mode is Mode.PODS:
        pods, parts = 2, [*parts, executor.kubernetes.resources]
    cost = {"pods": Decimal(pods), "count/pods": Decimal(pods)}
    for part in parts:
        for name, quantity in _compute_cost(part).items():
            cost[name] = cost.get(name, Decimal(0)) + quantity
    return cost


@dataclass(frozen=True)
class Claim:
    """Room that is spoken for, though no pod takes it yet."""

    amounts: Mapping[str, Decimal]
    why: str


@dataclass(frozen=True)
class Want:
    """What a pool could not create for want of room."""

    priority: int
    amounts: Mapping[str, Decimal]
    seen: datetime


def compute_owed(spec: RunnerPoolSpec, pods: Iterable[RunnerPodFact], job_pods: Iterable[JobPodFact]) -> Claim:
    """Give what the pods of jobs will take whose runners are there already: room that no other runner may be given."""
    why = "more soon, by jobs of runners that are there"
    if spec.executor.kubernetes is None or spec.mode is not Mode.PODS:
        return Claim({}, why)
    served = {pod.runner_uid for pod in job_pods}
    count = sum(pod.live and pod.uid not in served for pod in pods)
    each = {"pods": Decimal(1), "count/pods": Decimal(1), **_compute_cost(spec.executor.kubernetes.resources)}
    return Claim({name: cost * count for name, cost in each.items()}, why)


def compute_want(spec: RunnerPoolSpec, missing: int, now: datetime) -> Want:
    """Give what so many more runners would take."""
    amounts = {name: cost * missing for name, cost in compute_runner_cost(spec).items()}
    return Want(spec.priority, amounts, now)


def list_claims(wants: Mapping[str, Want], priority: int, now: datetime) -> list[Claim]:
    """List the room that goes to other pools of a namespace first, by their names: those of higher priority.

    A want that was not seen again lately is void: its pool is gone, or wants nothing any more.
    """
    return [
        Claim(want.amounts, f"kept for pool {name}, whose priority is {want.priority}")
        for name, want in sorted(wants.items())
        if want.priority > priority and now - want.seen <= WANT_LASTS
    ]


def compute_headroom(
    quotas: Iterable[Mapping[str, Any]], cost: Mapping[str, Decimal], claims: Sequence[Claim] = ()
) -> Headroom | None:
    """Give the tightest limit for runners of that cost, less what is claimed; None where no quota counts them."""
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
            claimed = [(claim.amounts.get(_PLAIN.get(name, name), Decimal(0)), claim.why) for claim in claims]
            left = (_parse(hard) - _parse(used) - sum(amount for amount, _ in claimed)) / each
            text = f"ResourceQuota {quota['metadata']['name']}: {used} of {hard} {name} are used"
            text += "".join(f", {amount.normalize():f} {why}" for amount, why in claimed if amount)
            rooms.append(Headroom(max(0, int(left)), text))
    return min(rooms, key=lambda room: room.pods, default=None)


def _compute_cost(resources: Resources) -> dict[str, Decimal]:
    """Give what these resources are in a quota's words; a limit without a request is the request, too."""
    cost: dict[str, Decimal] = {}
    for name, value in {**resources.limits, **resources.requests}.items():
        cost[f"requests.{name}"] = _parse(value)
    for name, value in resources.limits.items():
        cost[f"limits.{name}"] = _parse(value)
    return cost


def _parse(quantity: str) -> Decimal:
    value: Decimal = parse_quantity(quantity)  # type: ignore[no-untyped-call]  # the official client lacks types
    return value

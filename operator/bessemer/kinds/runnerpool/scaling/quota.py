"""Room for further pods in a namespace's ResourceQuotas. Pure.

Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from bessemer.api.runnerpool.executor_settings import KINDS
from bessemer.api.runnerpool.executors import KubernetesExecutor
from bessemer.api.runnerpool.podspec import Resources
from bessemer.api.runnerpool.spec import Mode, RunnerPoolSpec
from bessemer.kinds.runnerpool.facts import Headroom, JobPodFact, RunnerPodFact

QUOTA_SECONDS = 3
"""Seconds between checks of a quota that a pool waits for: Kubernetes does not notify when a quota has room again."""
WANT_LASTS = timedelta(seconds=5 * QUOTA_SECONDS)
_PLAIN = ("cpu", "memory", "ephemeral-storage")
"""Names in a quota that mean the same with the prefix "requests."; those of huge pages do, too.

Source: podComputeUsageHelper in
https://github.com/kubernetes/kubernetes/blob/master/pkg/quota/v1/evaluator/core/pods.go"""


@dataclass(frozen=True)
class PodCost:
    """Usage of one pod for each resource that a quota may limit, and what decides whether a scoped quota applies."""

    amounts: Mapping[str, Decimal]
    terminating: bool
    """Whether it has activeDeadlineSeconds."""
    priority_class: str = ""

    @property
    def best_effort(self) -> bool:
        """Whether it has no requests and no limits."""
        return not any(name.startswith(("requests.", "limits.")) for name in self.amounts)


def list_runner_costs(spec: RunnerPoolSpec) -> list[PodCost]:
    """Return the usage of one more runner: its pod, and its job's pod if that is a separate one.

    The pods of a manager's jobs are not planned here: GitLab's runner creates them as jobs arrive.
    """
    executor = spec.executor
    parts = [spec.pod.resources, *([executor.docker.daemon_resources] if executor.docker is not None else ())]
    costs = [PodCost(_compute_amounts(parts), terminating=False, priority_class=spec.pod.priority_class_name or "")]
    if executor.kubernetes is not None and spec.mode is Mode.PODS:
        costs.append(_build_job_cost(executor.kubernetes))
    return costs


def _build_job_cost(executor: KubernetesExecutor) -> PodCost:
    """Return the usage of a job's pod, whose deadline is the job's timeout.

    gitlab-runner sets the deadline (a feature flag, on by default). The pod's services are those in the settings;
    services that a job adds can't be known in advance.
    """
    settings = executor.settings
    build = _read_resources(settings, "")
    build = Resources(
        requests=build.requests | executor.resources.requests, limits=build.limits | executor.resources.limits
    )
    parts = [build, _read_resources(settings, "helper_")]
    parts += [_read_resources(settings, "service_")] * len(settings.get("services") or ())
    amounts = _compute_amounts(parts) | _compute_cost(_read_resources(settings, "pod_"))
    return PodCost(amounts, terminating=True, priority_class=settings.get("priority_class_name", ""))


def _read_resources(settings: Mapping[str, Any], prefix: str) -> Resources:
    """Return the resources in settings named by GitLab, for the containers with that prefix."""
    found: dict[str, dict[str, str]] = {
        suffix: {
            kind.replace("_", "-"): settings[f"{prefix}{kind}_{suffix}"]
            for kind in KINDS
            if f"{prefix}{kind}_{suffix}" in settings
        }
        for suffix in ("request", "limit")
    }
    return Resources(requests=found["request"], limits=found["limit"])


def _compute_amounts(parts: Iterable[Resources]) -> dict[str, Decimal]:
    amounts = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for part in parts:
        for name, quantity in _compute_cost(part).items():
            amounts[name] = amounts.get(name, Decimal(0)) + quantity
    return amounts


@dataclass(frozen=True)
class Claim:
    """Reserved room that no pod uses yet: the usage of these pods times the count."""

    costs: Sequence[PodCost]
    times: int
    why: str


@dataclass(frozen=True)
class Want:
    """Pods that a pool could not create because of a quota."""

    priority: int
    costs: Sequence[PodCost]
    missing: int
    """Number of runners."""
    seen: datetime


def compute_owed(spec: RunnerPoolSpec, pods: Iterable[RunnerPodFact], job_pods: Iterable[JobPodFact]) -> Claim:
    """Return the usage of future job pods of existing runners.

    No other runner may get this room, whether of the same pool or another one.
    """
    why = "more soon, by jobs of runners that are there"
    if spec.executor.kubernetes is None or spec.mode is not Mode.PODS:
        return Claim((), 0, why)
    served = {pod.runner_uid for pod in job_pods}
    return Claim((_build_job_cost(spec.executor.kubernetes),), sum(p.live and p.uid not in served for p in pods), why)


def compute_begun(spec: RunnerPoolSpec, runners: int) -> Claim:
    """Return the usage of the runners that another pool is about to create."""
    return Claim(list_runner_costs(spec), runners, "more soon, by runners that are being created")


def compute_want(spec: RunnerPoolSpec, missing: int, now: datetime) -> Want:
    """Return a want for that many more runners."""
    return Want(spec.priority, list_runner_costs(spec), missing, now)


def list_claims(wants: Mapping[str, Want], priority: int, now: datetime) -> list[Claim]:
    """Return the room that pools of higher priority in the namespace get first, in the order of their names.

    A want that has not been renewed recently is ignored: its pool is deleted or wants nothing any more.
    """
    return [
        Claim(want.costs, want.missing, f"kept for pool {name}, whose priority is {want.priority}")
        for name, want in sorted(wants.items())
        if want.priority > priority and now - want.seen <= WANT_LASTS
    ]


def compute_headroom(
    quotas: Iterable[Mapping[str, Any]], costs: Sequence[PodCost], claims: Sequence[Claim] = ()
) -> Headroom | None:
    """Return the tightest limit for runners of that cost, after deducting claims; None if no quota applies."""
    rooms: list[Headroom] = []
    for quota in quotas:
        each = _sum_counted(quota, costs)
        claimed = [(_sum_counted(quota, claim.costs), claim) for claim in claims]
        status = quota.get("status") or {}
        for name, hard in (status.get("hard") or {}).items():
            kind = f"requests.{name}" if name in _PLAIN or name.startswith("hugepages-") else name
            if not each.get(kind):
                continue
            used = (status.get("used") or {}).get(name, "0")
            kept: dict[str, Decimal] = {}
            for amounts, claim in claimed:
                kept[claim.why] = kept.get(claim.why, Decimal(0)) + amounts.get(kind, Decimal(0)) * claim.times
            try:
                left = (_parse(hard) - _parse(used) - sum(kept.values())) / each[kind]
            except (ValueError, ArithmeticError):
                continue  # an invalid quantity limits nothing that could be computed in advance
            if not left.is_finite():
                continue
            text = f"ResourceQuota {quota['metadata']['name']}: {used} of {hard} {name} are used"
            text += "".join(f", {amount.normalize():f} {why}" for why, amount in kept.items() if amount)
            rooms.append(Headroom(max(0, int(left)), text))
    return min(rooms, key=lambda room: room.pods, default=None)


def _sum_counted(quota: Mapping[str, Any], costs: Iterable[PodCost]) -> dict[str, Decimal]:
    """Return the usage of those pods to which a quota applies."""
    total: dict[str, Decimal] = {}
    for cost in costs:
        if _counts(quota, cost):
            for name, amount in cost.amounts.items():
                total[name] = total.get(name, Decimal(0)) + amount
    return total


def _counts(quota: Mapping[str, Any], cost: PodCost) -> bool:
    """Return whether a quota's scopes all match a pod; a scope that we don't know matches no pod of Bessemer.

    Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/#quota-scopes
    """
    spec = quota.get("spec") or {}
    selectors = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    selectors += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_is_in_scope(selector, cost) for selector in selectors)


def _is_in_scope(selector: Mapping[str, Any], cost: PodCost) -> bool:
    plain = {
        "Terminating": cost.terminating,
        "NotTerminating": not cost.terminating,
        "BestEffort": cost.best_effort,
        "NotBestEffort": not cost.best_effort,
    }
    if selector.get("scopeName") != "PriorityClass":
        return plain.get(str(selector.get("scopeName")), False)
    named = cost.priority_class in (selector.get("values") or ())
    given = cost.priority_class != ""
    return {"In": named, "NotIn": not named, "Exists": given, "DoesNotExist": not given}.get(
        str(selector.get("operator")), False
    )


def _compute_cost(resources: Resources) -> dict[str, Decimal]:
    """Return resources under the names that quotas use; a limit without a request is also the request."""
    cost: dict[str, Decimal] = {}
    for name, value in {**resources.limits, **resources.requests}.items():
        cost[f"requests.{name}"] = _parse(value)
    for name, value in resources.limits.items():
        cost[f"limits.{name}"] = _parse(value)
    return cost


def _parse(quantity: str) -> Decimal:
    value: Decimal = parse_quantity(quantity)  # type: ignore[no-untyped-call]  # the official client lacks types
    return value

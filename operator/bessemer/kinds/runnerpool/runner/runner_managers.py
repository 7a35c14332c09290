"""Which runner managers must be deleted in GitLab: its records of deleted pods that took a job. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from bessemer.api.names import runner_system_id
from bessemer.kinds.runnerpool.runner.known import Registered
from bessemer.kinds.runnerpool.runner.plan import ForgetManager, KeepManager, Plan

AGAIN = timedelta(seconds=30)
"""Time between two tries to delete a runner manager."""


@dataclass(frozen=True)
class ManagerFacts:
    """The slots whose runner managers are left in GitLab, and the runner's GitLab."""

    pool_uid: str
    slots: frozenset[int]
    used: frozenset[int]
    """Slots that have a pod again, which uses the manager."""
    registered: Registered | None
    """The GitLab of the runner, which differs from the spec if that was changed; None: unknown."""
    api_token: str | None = field(default=None, repr=False)


def decide_managers(facts: ManagerFacts) -> list[Plan]:
    """Return the decision about each slot's runner manager, in order of slots."""
    plans = [
        Plan(KeepManager(slot), "SlotInUse", f"runner manager of slot {slot}")
        for slot in sorted(facts.slots & facts.used)
    ]
    if facts.registered is None:
        return plans
    for slot in sorted(facts.slots - facts.used):
        step = ForgetManager(slot, runner_system_id(facts.pool_uid, slot))
        plans.append(Plan(step, "PodGone", f"runner manager {step.system_id} of slot {slot}"))
    return plans

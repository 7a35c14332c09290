"""Which runner managers GitLab must delete: its records of pods that took a job and are gone. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from bessemer.api.names import runner_system_id
from bessemer.kinds.runnerpool.runner.known import Registered
from bessemer.kinds.runnerpool.runner.plan import ForgetManager, KeepManager, Plan

AGAIN = timedelta(seconds=30)
"""Between two attempts to have GitLab delete a manager."""


@dataclass(frozen=True)
class ManagerFacts:
    """The slots whose runner managers are left in GitLab, and where."""

    pool_uid: str
    slots: frozenset[int]
    used: frozenset[int]
    """Slots that have a pod again, which uses the manager."""
    registered: Registered | None
    """Where the runner is, which is not where the spec says once that was changed; None: that can't be found out."""
    api_token: str | None = field(default=None, repr=False)


def decide_managers(facts: ManagerFacts) -> list[Plan]:
    """Decide what becomes of each slot's manager, in their order."""
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

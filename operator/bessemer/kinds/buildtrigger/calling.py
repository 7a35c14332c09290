"""How a trigger's GitLab is called: with which client, and when again after a call that failed."""

from __future__ import annotations

from bessemer.api.buildtrigger.spec import TriggerConnection
from bessemer.errors import Retry
from bessemer.gitlab.limits import Budget
from bessemer.gitlab.projectclient import ProjectClient
from bessemer.gitlab.protocol import RateLimited
from bessemer.kinds.buildtrigger.deps import TriggerDeps
from bessemer.kinds.buildtrigger.facts import Facts
from bessemer.kinds.buildtrigger.memory import Memory
from bessemer.pauses import compute_growing_pause

FIRST_PAUSE_SECONDS = 5.0
SPENT_SECONDS = 60.0
"""Pause where a budget of calls is spent."""


async def use_gitlab(deps: TriggerDeps, facts: Facts, memory: Memory) -> tuple[ProjectClient, TriggerConnection]:
    """Return the GitLab of a trigger, and its project; raises Retry while the token is not known."""
    spec, access = facts.trigger.spec, memory.access
    if spec is None or access is None:
        raise Retry("SecretMissing", "the access token is not known")
    key = (facts.trigger.namespace, facts.trigger.name)
    return await deps.gitlabs.use(key, spec.gitlab.url, access.api_token, access.ca), spec.gitlab


def spend_call(budget: Budget, now: float, what: str) -> None:
    """Count a call that follows from what GitLab says; raises RateLimited where there have been too many.

    What GitLab says may never be what it was told, because others change it, or because it lies: then telling it again
    must not go on without a pause.
    """
    wait = budget.spend(now)
    if wait > 0:
        raise RateLimited(f"{what}: GitLab's answers lead to more and more calls", max(wait, SPENT_SECONDS))


def compute_pause(asked: float | None, failures: int, longest: float) -> float:
    """Return the seconds until the next call: as many as GitLab asks for, otherwise doubled with each failure."""
    return asked or compute_growing_pause(FIRST_PAUSE_SECONDS, failures + 1, longest)

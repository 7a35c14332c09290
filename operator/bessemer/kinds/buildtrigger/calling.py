"""How a trigger's GitLab is called: with which client, and when again after a call that failed."""

from __future__ import annotations

from typing import TypeVar

from bessemer.api.buildtrigger.spec import TriggerConnection
from bessemer.errors import Retry
from bessemer.gitlab.clients import ClientPool, Closable
from bessemer.kinds.buildtrigger.facts import Facts
from bessemer.kinds.buildtrigger.memory import Memory

FIRST_PAUSE_SECONDS = 5.0
C = TypeVar("C", bound=Closable)


async def use_client(clients: ClientPool[C], facts: Facts, memory: Memory) -> tuple[C, TriggerConnection]:
    """Return the client for the GitLab of a trigger, and its project; raises Retry while the token is not known."""
    spec, access = facts.trigger.spec, memory.access
    if spec is None or access is None:
        raise Retry("SecretMissing", "the access token is not known")
    key = (facts.trigger.namespace, facts.trigger.name)
    return await clients.use(key, spec.gitlab.url, access.api_token, access.ca), spec.gitlab


def compute_pause(asked: float | None, failures: int, longest: float) -> float:
    """Return the seconds until the next call: as many as GitLab asks for, otherwise doubled with each failure."""
    return asked or min(FIRST_PAUSE_SECONDS * 2 ** min(failures, 16), longest)

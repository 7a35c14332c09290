"""The cluster that a command reads, and how it outlasts an API server that gives no answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from bessemer.errors import Invalid
from bessemer.kube.client import KubernetesClient
from bessemer.kube.protocol import Kind, Object, Refused, Unavailable

OUTAGE_SECONDS = 60.0
"""So long a command that follows something goes on asking an API server that gives no answer."""
PAUSE_SECONDS = 1.0
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Session:
    """Where a command works."""

    kubernetes: KubernetesClient
    namespace: str

    async def require(self, resource: Kind, kind: str, name: str) -> Object:
        """Read an object; raises Invalid where there is none, and NotServed where the kind itself is not there."""
        raw = await self.kubernetes.get_object(resource, self.namespace, name)
        if raw is None:
            with contextlib.suppress(Refused):  # who may not list has to take the simpler answer
                await self.kubernetes.list_objects(resource, self.namespace, limit=1)
            hint = "bessemer status --all-namespaces lists all"
            raise Invalid("NotFound", f"there is no {kind} {name} in namespace {self.namespace}; {hint}")
        return raw


async def outlast_outages(ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Ask the API server; where it gives no answer, such as while it restarts, again for a minute."""
    end = monotonic() + OUTAGE_SECONDS
    while True:
        try:
            return await ask()
        except Unavailable as error:
            if error.reason == "Unauthorized" or monotonic() >= end:
                raise
        await asyncio.sleep(PAUSE_SECONDS)

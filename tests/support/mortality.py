"""An operator that dies just before or just after a call of one of its clients, as by SIGKILL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any

from tests.fakes.kubernetes import Crash

PASSED_OVER = frozenset({"list_pending_jobs", "close"})
"""Calls that only read from GitLab in the background, or belong to a clean shutdown."""


@dataclass
class Mortality:
    """The moments before and after the calls of one process."""

    at: int | None = None
    """Die at the moment with this number, counted from 0; None: never. Each call has two moments."""
    moments: list[str] = field(default_factory=list)
    dead: bool = False

    def arm(self, at: int | None) -> None:
        """Count moments from now on."""
        self.at, self.moments = at, []

    def pass_moment(self, what: str) -> None:
        """Continue, or die; a dead process does nothing more, whatever it was doing."""
        if not self.dead:
            self.dead = self.at == len(self.moments)
            self.moments.append(what)
        if self.dead:
            raise Crash


@dataclass(frozen=True)
class MortalClient:
    """A client whose calls are moments at which its user may die."""

    client: Any
    mortality: Mortality

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if not iscoroutinefunction(found) or name in PASSED_OVER:
            return found
        return self._surround(name, found)

    def _surround(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def die_around(*arguments: Any, **options: Any) -> Any:
            self.mortality.pass_moment(f"before {name}")
            answer = await call(*arguments, **options)
            self.mortality.pass_moment(f"after {name}")
            return answer

        return die_around

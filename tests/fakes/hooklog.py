"""A project's webhook in memory, behind the same client as the real one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bessemer.errors import BessemerError
from bessemer.gitlab.hooklog import EXECUTABLE, Delivery, Hook
from bessemer.gitlab.protocol import GitLabNotFound, GitLabRejected, Scope

HOOK = 4


@dataclass
class FakeHookLog:
    """One webhook, and what it was sent."""

    project: str
    state: str | None = EXECUTABLE
    """None: there is no webhook."""
    deliveries: list[Delivery] = field(default_factory=list)
    """The earliest first."""
    bodies: dict[str, Any] = field(default_factory=dict)
    """Bodies of events by the keys of their deliveries."""
    send: Callable[[Any], Awaitable[Any]] | None = None
    """Delivers a body; None: the receiver does not answer."""
    error: BessemerError | None = None
    resend_error: BessemerError | None = None
    calls: list[str] = field(default_factory=list)

    def lose(self, body: dict[str, Any], at: datetime, key: str = "") -> None:
        """Have a delivery fail."""
        number = len(self.deliveries) + 1
        key = key or f"key-{number}"
        self.bodies[key] = body
        self.deliveries.append(Delivery(number, key, body["object_kind"], "502", at))

    async def list_hooks(self, scope: Scope, path: str) -> list[Hook]:
        """List the webhook."""
        self._call("list_hooks", scope, self.error)
        assert path.startswith("/v1/triggers/")
        return [Hook(HOOK, self.state)] if self.state is not None else []

    async def list_deliveries(self, scope: Scope, hook: int, since: datetime) -> list[Delivery]:
        """List what it was sent."""
        self._call("list_deliveries", scope, self.error)
        return [one for one in reversed(self.deliveries) if hook == HOOK and one.at >= since]

    async def resend(self, scope: Scope, hook: int, delivery: int) -> None:
        """Send an event again."""
        self._call("resend", scope, self.error or self.resend_error)
        found = next((one for one in self.deliveries if (hook, one.id) == (HOOK, delivery)), None)
        if found is None:
            raise GitLabNotFound("404 Not found")
        again = replace(found, id=len(self.deliveries) + 1)
        self.deliveries.append(again)
        if self.send is None:
            raise GitLabRejected("422 execution expired")
        await self.send(self.bodies[found.key])
        self.deliveries[-1] = replace(again, answer="200")

    async def close(self) -> None:
        """Do nothing."""

    def _call(self, call: str, scope: Scope, error: BessemerError | None) -> None:
        self.calls.append(call)
        if error is not None:
            raise error
        if scope.path != self.project:
            raise GitLabNotFound("404 Project Not Found")

"""The webhooks of a project, what GitLab has sent to them, and having it sent again: what the operator asks for.

Access token: ``api``, of a Maintainer of the project. GitLab does not send an event again by itself, and keeps what it
has sent for some days. An event that is sent again has the same key, and another entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bessemer.gitlab.protocol import Scope

EXECUTABLE = "executable"
"""State of a webhook that is sent events. Others: disabled, temporarily_disabled.
Source: app/models/concerns/web_hooks/auto_disabling.rb of gitlab-org/gitlab"""


@dataclass(frozen=True)
class Hook:
    """A webhook."""

    id: int
    state: str
    """The member alert_status; empty where GitLab does not say it."""


@dataclass(frozen=True)
class Delivery:
    """An event that was sent."""

    id: int
    key: str
    """What all entries for the same event have in common; empty where GitLab does not say it (before 17.4)."""
    kind: str
    """object_kind of the event."""
    answer: str
    """Status of the answer, such as 204, or why there was none."""
    at: datetime

    @property
    def arrived(self) -> bool:
        """Whether GitLab counts it as delivered."""
        return self.answer[:1] in ("2", "3")


class HookLog(Protocol):
    """What the operator asks about the webhooks of a project or group. Each call ends within a bounded time, and raises
    the errors of :class:`bessemer.gitlab.protocol.GitLab`.
    """

    async def list_hooks(self, scope: Scope, path: str) -> list[Hook]:
        """List the webhooks whose URL ends with a path."""
        ...

    async def list_deliveries(self, scope: Scope, hook: int, since: datetime) -> list[Delivery]:
        """List what a webhook was sent since a time, the latest first; of very many only the latest."""
        ...

    async def resend(self, scope: Scope, hook: int, delivery: int) -> None:
        """Have an event sent again; returns once it was answered with success or not. Raises GitLabRejected where it
        was not answered, or the webhook is disabled."""
        ...

    async def close(self) -> None:
        """Close connections; no other method may be called afterwards."""
        ...

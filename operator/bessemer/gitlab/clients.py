"""Clients for GitLabs that several objects share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """A client with open connections."""

    async def close(self) -> None:
        """Close connections."""
        ...


C = TypeVar("C", bound=Closable)
Key = tuple[str, str]
"""Namespace and name of the object that uses a client."""
_Endpoint = tuple[str, str | None, str | None]


@dataclass
class ClientPool(Generic[C]):
    """Clients for GitLab by URL, token and CA bundle; each is kept as long as an object uses it."""

    connect: Callable[[str, str | None, str | None], C]
    _open: dict[_Endpoint, C] = field(default_factory=dict, repr=False)
    _used: dict[Key, _Endpoint] = field(default_factory=dict, repr=False)

    async def use(self, user: Key, url: str, token: str | None, ca: str | None) -> C:
        """Return the client; created if necessary. Closes the user's previous client if no other uses it."""
        endpoint = (url, token, ca)
        if self._used.get(user) != endpoint:
            await self.leave(user)
        if endpoint not in self._open:
            self._open[endpoint] = self.connect(*endpoint)  # may raise: the user counts as a user only afterwards
        self._used[user] = endpoint
        return self._open[endpoint]

    async def leave(self, user: Key) -> None:
        """Record that an object no longer uses a client."""
        endpoint = self._used.pop(user, None)
        if endpoint is not None and endpoint not in self._used.values():
            await self._open.pop(endpoint).close()

    async def close(self) -> None:
        """Close all clients."""
        for user in list(self._used):
            await self.leave(user)

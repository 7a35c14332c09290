"""Where the replica that leads is reached: found by the Lease and the pod that holds it."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

from bessemer.api.wellknown import LEADER_LEASE
from bessemer.engine.settings import Settings
from bessemer.errors import BessemerError, Retry
from bessemer.kube.protocol import LEASES, PODS, Kubernetes

FRESH_SECONDS = 2.0
"""How long an answer is good, also that there is none: requests of strangers must not be requests to the API server.
A Lease changes hands no faster than every two seconds (process.RETRY_SECONDS)."""


class LeaderFinder:
    """Knows the leader's address; asks Kubernetes no more than twice in :data:`FRESH_SECONDS`."""

    def __init__(self, kubernetes: Kubernetes, settings: Settings) -> None:
        self._kubernetes = kubernetes
        self._settings = settings
        self._asking = asyncio.Lock()
        self._found: str | BessemerError | None = None
        self._until = 0.0

    async def find(self) -> str:
        """Return the host part of a URL that leads to the leader: an address, an IPv6 one in brackets.

        Raises Retry where there is no other replica that leads, or Kubernetes can't be asked.
        """
        async with self._asking:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._until:
                try:
                    self._found = await self._ask()
                except BessemerError as error:
                    self._found = error
                self._until = loop.time() + FRESH_SECONDS
        if isinstance(self._found, str):
            return self._found
        raise Retry("NoLeader", str(self._found))

    def doubt(self) -> None:
        """Forget the leader's address, so that the next request looks it up: the leader did not answer."""
        self._until = 0.0

    async def _ask(self) -> str:
        namespace = self._settings.namespace
        lease = await self._kubernetes.get_object(LEASES, namespace, LEADER_LEASE)
        holder = ((lease or {}).get("spec") or {}).get("holderIdentity")
        if not holder or holder == self._settings.identity:
            raise Retry("NoLeader", "no other replica holds the Lease")
        pod = await self._kubernetes.get_object(PODS, namespace, holder)
        return format_host(((pod or {}).get("status") or {}).get("podIP"))


def format_host(address: object) -> str:
    """Return an IP address as the host part of a URL; raises Retry for what is none.

    Source: RFC 3986, 3.2.2. Addresses with a zone are refused: a pod has none, and it means nothing elsewhere.
    """
    try:
        if not isinstance(address, str) or "%" in address:
            raise ValueError(address)
        parsed = ip_address(address)
    except ValueError as error:
        raise Retry("NoLeader", "the pod that leads has no address") from error
    return f"[{parsed.compressed}]" if parsed.version == 6 else parsed.compressed

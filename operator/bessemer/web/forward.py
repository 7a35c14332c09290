"""What reaches a replica that stands by goes on to the one that leads: a Service can't tell them apart; both are ready.

GitLab disables a webhook that is refused again and again, and does not send it again soon; so "try later" won't do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from bessemer.errors import BessemerError
from bessemer.kube.client import LEASES, PODS, Kubernetes
from bessemer.settings import Settings
from bessemer.wellknown import LEADER_LEASE

PREFIX = "/v1/"
"""What only the leader can take; metrics and probes are each replica's own."""
FORWARDED = "X-Bessemer-Forwarded"
SECONDS = 8.0
"""GitLab gives a webhook up after 10 s. Source: https://docs.gitlab.com/user/project/integrations/webhooks/"""
_OWN_HEADERS = frozenset({hdrs.HOST.lower(), hdrs.CONTENT_LENGTH.lower(), hdrs.CONNECTION.lower(),
                          hdrs.TRANSFER_ENCODING.lower()})  # fmt: skip
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = logging.getLogger(__name__)


class Leading(Protocol):
    """Knows whether this replica leads."""

    leading: bool


class Forwarder:
    """Sends requests on to the leader; only once, and only to the pod that holds the Lease."""

    def __init__(self, kubernetes: Kubernetes, settings: Settings, health: Leading) -> None:
        self._kubernetes = kubernetes
        self._settings = settings
        self._health = health

    @web.middleware
    async def forward(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answer here while we lead; else with what the leader answers, or 503 where it can't be reached."""
        if self._health.leading or not request.path.startswith(PREFIX):
            return await handler(request)
        if FORWARDED in request.headers:
            return web.Response(status=503, text="the leader has just changed\n")
        try:
            async with asyncio.timeout(SECONDS):
                address = await self._find_leader()
                if address is not None:
                    return await self._send(request, address)
        except (TimeoutError, aiohttp.ClientError, BessemerError) as error:
            _log.warning("the leader can't be reached: %s", error)
        return web.Response(status=503, text="standing by, and the leader can't be reached\n")

    async def _find_leader(self) -> str | None:
        namespace = self._settings.namespace
        lease = await self._kubernetes.get_object(LEASES, namespace, LEADER_LEASE)
        holder = ((lease or {}).get("spec") or {}).get("holderIdentity")
        if not holder or holder == self._settings.identity:
            return None
        pod = await self._kubernetes.get_object(PODS, namespace, holder)
        address: str | None = ((pod or {}).get("status") or {}).get("podIP")
        return address

    async def _send(self, request: web.Request, address: str) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS}
        headers[FORWARDED] = self._settings.identity
        # Built of its parts: whatever host the request names, it goes to the leader and nowhere else.
        url = URL.build(
            scheme="http",
            host=address,
            port=self._settings.listen_port,
            path=request.rel_url.raw_path,
            query_string=request.rel_url.raw_query_string,
            encoded=True,
        )
        body = await request.read()
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read())

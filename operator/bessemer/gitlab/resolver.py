"""Resolve host names, in threads of each client.

The C library can't be told to stop, and takes as long as the name servers of a domain let it: half a minute with usual
settings. In the threads that all share, the names of one tenant's GitLab would keep those of all others waiting.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

AT_ONCE = 2
"""Names that one client looks up side by side: it has one, and looks it up again when the last time has failed."""


class OwnResolver(AbstractResolver):
    """What ``getaddrinfo`` says."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gitlab-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host; raises OSError."""
        look_up = functools.partial(
            socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=int(address[1]), family=kind, proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]  # fmt: skip

    async def close(self) -> None:
        """Start no more threads; those that are at work end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

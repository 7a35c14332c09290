"""Watches in memory: a test says what they hear, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from bessemer.errors import BessemerError
from bessemer.kube.protocol import Kind

Key = tuple[str, str]


@dataclass
class FakeWatcher:
    """All watches that were begun."""

    begun: list[Key] = field(default_factory=list)
    open: dict[Key, asyncio.Queue[str | BessemerError | None]] = field(default_factory=dict)

    async def watch_object(self, _kind: Kind, namespace: str, name: str) -> AsyncGenerator[str]:
        """Return what the test tells."""
        key = (namespace, name)
        self.begun.append(key)
        queue = self.open[key] = asyncio.Queue()
        try:
            while (heard := await queue.get()) is not None:
                if isinstance(heard, BessemerError):
                    raise heard
                yield heard
        finally:
            del self.open[key]

    def tell(self, namespace: str, name: str, heard: str | BessemerError | None) -> None:
        """Have a watch hear of a resource version, end (None) or fail; nothing where there is none."""
        if (namespace, name) in self.open:
            self.open[namespace, name].put_nowait(heard)

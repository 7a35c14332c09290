"""Faults that tests switch on: each affects one route, for a number of requests or until it is cleared."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HANG_SECONDS = 600


class Fault(BaseModel):
    """One fault."""

    model_config = ConfigDict(extra="forbid")

    route: str
    """Regular expression that a method and a path must match, such as ``POST /api/v4/jobs/request``."""
    kind: Literal["status", "hang", "reset", "delay", "bad_json", "wrong_content_type"] = "status"
    status: int = Field(default=503, ge=400, le=599)
    headers: dict[str, str] = Field(default_factory=dict)
    """Of the answer, for a status."""
    seconds: float = 0
    """How long a delay takes."""
    times: int | None = Field(default=None, ge=1)
    """For how many requests; None: until it is cleared."""


@dataclass
class Faults:
    """The active faults, and how many times each has struck."""

    active: list[Fault] = field(default_factory=list)
    struck: int = 0
    _broken: Fault | None = None
    _cleared: asyncio.Event = field(default_factory=asyncio.Event)

    def clear(self) -> None:
        """Switch all faults off; hanging requests continue."""
        self.active.clear()
        cleared, self._cleared = self._cleared, asyncio.Event()
        cleared.set()

    def take(self, what: str) -> Fault | None:
        """Return the fault that strikes a request, counting it."""
        for fault in self.active:
            if re.search(fault.route, what):
                self.struck += 1
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self.active.remove(fault)
                return fault
        return None

    def take_broken_answer(self) -> web.Response | None:
        """Return the answer that replaces a claimed job, if a fault is set for that."""
        fault, self._broken = self._broken, None
        if fault is None:
            return None
        if fault.kind == "bad_json":
            return web.Response(status=201, text="{", content_type="application/json")
        return web.Response(status=201, text="<html></html>", content_type="text/html")

    @web.middleware
    async def strike(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Apply faults to the routes of the API."""
        fault = self.take(f"{request.method} {request.path}") if not request.path.startswith("/-/") else None
        if fault is None:
            return await handler(request)
        match fault.kind:
            case "status":
                said = {"message": f"{fault.status} by switch"}
                return web.json_response(said, status=fault.status, headers=fault.headers)
            case "hang":
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._cleared.wait(), HANG_SECONDS)
            case "reset":
                if request.transport is not None:
                    request.transport.abort()
            case "delay":
                await asyncio.sleep(fault.seconds)
            case _:
                self._broken = fault
        return await handler(request)

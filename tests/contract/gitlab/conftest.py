"""The simulator as a server of its own in this process: python-gitlab and the control client wait for their answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import gitlab
import pytest
from aiohttp import web

from tests.support.gitlab.control import Simulator, send_over_http
from tests.support.gitlab.server import build_app, build_state

START_SECONDS = 10


@dataclass(frozen=True)
class Site:
    """A running simulator."""

    url: str
    control: Simulator

    def connect(self, token: str) -> gitlab.Gitlab:
        return gitlab.Gitlab(self.url, private_token=token, timeout=10)


@pytest.fixture
def site() -> Iterator[Site]:
    """Serve on a free port of the loopback until the test is over."""
    ready: list[tuple[str, asyncio.Event, asyncio.AbstractEventLoop]] = []
    started = threading.Event()

    async def serve() -> None:
        stop = asyncio.Event()
        state = build_state("http://127.0.0.1")
        runner = web.AppRunner(build_app(state))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        state.external_url = f"http://{host}:{port}"
        ready.append((state.external_url, stop, asyncio.get_running_loop()))
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(START_SECONDS), "the simulator has not started"
    url, stop, loop = ready[0]
    try:
        yield Site(url, Simulator(send_over_http(url)))
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()

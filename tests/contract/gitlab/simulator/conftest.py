"""What several of these tests need: a receiver of webhooks, and git as a user runs it."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.clone import Clone

SECONDS = 20


@dataclass(frozen=True)
class Delivery:
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Receiver:
    """Answers with a status, and keeps what it got."""

    url: str = ""
    status: int = 204
    queue: queue.Queue[Delivery] = field(default_factory=queue.Queue)

    def take(self, count: int) -> list[Delivery]:
        """Wait for so many; there are no more."""
        found = [self.queue.get(timeout=SECONDS) for _ in range(count)]
        assert self.queue.empty(), self.queue.get_nowait()
        return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            receiver.queue.put(Delivery(dict(self.headers), json.loads(body)))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/"
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


MakeClone = Callable[[str], Clone]


@pytest.fixture
def clone(tmp_path: Path) -> MakeClone:
    """Clone from a URL into a new folder."""
    count = iter(range(100))

    def make(url: str) -> Clone:
        name = f"clone-{next(count)}"
        Clone(tmp_path).run("clone", "--quiet", url, name)
        return Clone(tmp_path / name)

    return make

"""A boot daemon that runs in the test's own process, and what is staged on it."""

from __future__ import annotations

import base64
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bessemer.machines.netboot import bootd

TOKEN = "token-of-the-first-attempt"
MAC = "52:54:00:8d:00:02"
SCRIPT = "/boot/52-54-00-8d-00-02.ipxe"


@dataclass
class Daemon:
    """A boot daemon that serves a state directory in this process."""

    state: Path
    store: bootd.Store
    port: int = 0
    root_ports: int = 65536
    """Where tests may not be root, every port has to do for one of root's."""
    server: bootd.Server | None = field(default=None, repr=False)

    def start(self) -> None:
        (self.state / "static").mkdir(exist_ok=True)
        self.server = bootd.Server(("127.0.0.1", self.port), self.store, str(self.state / "static"), self.root_ports)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        assert self.server
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, bytes]:
        return self.send(urllib.request.Request(self.url + path))  # noqa: S310  loopback

    def post(self, path: str, body: bytes = b"") -> tuple[int, bytes]:
        return self.send(urllib.request.Request(self.url + path, data=body, method="POST"))  # noqa: S310  loopback

    def send(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with urllib.request.build_opener(NoRedirect).open(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read() + error.headers.get("Location", "").encode()

    def stage(self, **changes: Any) -> None:
        bootd.stage(self.store, [build_entry(self.url, **changes)])

    def events(self, since: int = 0) -> list[str]:
        return [record["event"] for record in self.store.journal.read(since)]

    def boot(self, mac: str = MAC) -> None:
        """Have DHCP tell that a machine boots from the network, as role boot_server does."""
        (self.state / "boots" / mac.replace(":", "-")).touch()


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Shows redirects instead of following them."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def build_entry(server: str, **changes: Any) -> dict[str, Any]:
    """Build what is staged for one machine."""
    return {
        "build": "uid-1",
        "host": "oxygen2",
        "mac": MAC,
        "address": "127.0.0.1",
        "attempt": "d-1-1",
        "token": TOKEN,
        "persistent": False,
        "armed": True,
        "boot_events": True,
        "server": server,
        "kernel": "http://example/vmlinuz",
        "initrds": ["http://example/modules.img", "/nonexistent/installer"],
        "arguments": ["console=ttyS0"],
        "parameters": {"METHOD": "DiskImage", "IMAGE": "http://example/root.tar.gz"},
        "files": [{"path": "/etc/ssh/key", "mode": 0o600, "content": base64.b64encode(b"secret").decode()}],
        "script": None,
        **changes,
    }

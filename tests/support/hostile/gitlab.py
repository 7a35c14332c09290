"""A server that a RunnerPool may name as its GitLab, and that answers to do harm; standard library only.

    python gitlab.py PORT OTHER_HOST

The first part of the path chooses how: ``/bomb`` (300 KB of gzip that unpack to 300 MB), ``/drip`` (a byte a second),
``/endless`` (a body without an end), ``/deep`` (JSON nested 100,000 deep), ``/page`` (status 500, HTML with terminal
escapes), ``/away`` (a redirect to ``/elsewhere`` on another host).
"""

from __future__ import annotations

import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = b'"' + b"a" * 65535
_GZIP = zlib.compressobj(9, zlib.DEFLATED, 31)
BOMB = b"".join(_GZIP.compress(b" " * 1_000_000) for _ in range(300)) + _GZIP.compress(b"[]") + _GZIP.flush()


class Handler(BaseHTTPRequestHandler):
    """Answers every request by the first part of its path."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Do the harm that the path names."""
        print(self.command, self.path, "token" if self.headers.get("PRIVATE-TOKEN") else "bare", flush=True)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.path.split("/")[1]:
            case "bomb":
                self.send(200, BOMB, ("Content-Encoding", "gzip"), ("Content-Type", "application/json"))
            case "drip":
                self.begin(200, ("Content-Length", "1000000"), ("Content-Type", "application/json"))
                pause = threading.Event()
                while True:
                    self.wfile.write(b" ")
                    pause.wait(1)
            case "endless":
                self.begin(200, ("Content-Type", "application/json"), ("Connection", "close"))
                while True:
                    self.wfile.write(PIECE)
            case "deep":
                self.send(200, b"[" * 100_000 + b"]" * 100_000, ("Content-Type", "application/json"))
            case "away":
                self.send(302, b"", ("Location", f"http://{sys.argv[2]}/elsewhere"))
            case _:
                page = "<html>\x1b]0;pwned\x07\x1b[2J db_password=hunter2 \u2028".encode() * 100
                self.send(500, page, ("Content-Type", "text/html"))

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  the names are http.server's

    def send(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        """Send a whole answer."""
        self.begin(status, ("Content-Length", str(len(body))), *headers)
        self.wfile.write(body)

    def begin(self, status: int, *headers: tuple[str, str]) -> None:
        """Send the head of an answer."""
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing beyond what ``answer`` prints."""


class Server(ThreadingHTTPServer):
    """Ends its threads with itself, and takes connections that break for what they are."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """The client has gone, as it should."""


if __name__ == "__main__":
    Server(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()  # noqa: S104  in a separate pod

"""Real Git servers on loopback: ``git http-backend`` behind a small CGI server, and ``git daemon``."""

from __future__ import annotations

import base64
import contextlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.contract.machines.daemons import ensure_program, find_free_port, run_daemon

AUTHOR = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def git(*arguments: str, directory: Path) -> str:
    """Run git in a folder; return what it prints."""
    environment = {**os.environ, **AUTHOR, "GIT_CONFIG_GLOBAL": "/dev/null"}
    command = [ensure_program("git", "git"), *arguments]
    done = subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_repository(folder: Path) -> list[str]:
    """Make ``site.git`` with two commits, whose playbook says which it is; return their hashes, the oldest first."""
    work = folder / "work"
    work.mkdir(parents=True)
    git("init", "--quiet", directory=work)
    commits = []
    for number in (1, 2):
        (work / "site.yml").write_text(f"# {number}\n")
        git("add", ".", directory=work)
        git("commit", "--quiet", "--message", str(number), directory=work)
        commits.append(git("rev-parse", "HEAD", directory=work))
    git("clone", "--quiet", "--bare", str(work), str(folder / "site.git"), directory=folder)
    return commits


@dataclass
class HttpGit:
    """A running HTTP server of Git repositories."""

    url: str
    folder: Path
    login: str | None = None
    """``user:password`` that is asked for; None lets everybody in."""
    redirect: str | None = None
    """Where all requests are sent on to instead of being answered."""
    logins_seen: int = 0
    """Requests that came with a login, whether or not it was right."""


@contextlib.contextmanager
def serve_http(folder: Path) -> Iterator[HttpGit]:
    """Serve the repositories of a folder by smart HTTP. Source: https://git-scm.com/docs/git-http-backend"""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  name of the standard library
            """Keep the test's output clean."""

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            given = self.headers.get("Authorization")
            state.logins_seen += given is not None
            if state.redirect is not None:
                self._send(302, [("Location", state.redirect + self.path)], b"")
            elif state.login and given != "Basic " + base64.b64encode(state.login.encode()).decode():
                self._send(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
            else:
                self._run_backend(body)

        def _run_backend(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            environment = {
                "GIT_PROJECT_ROOT": str(state.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "CONTENT_LENGTH": str(len(body)),
                "PATH": os.environ["PATH"],
            }
            done = subprocess.run(
                [program, "http-backend"], input=body, env=environment, stdout=subprocess.PIPE, check=True
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
            status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
            self._send(status, [(name, value) for name, value in headers if name != "Status"], content)

        def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for name, value in [*headers, ("Content-Length", str(len(content)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    program = ensure_program("git", "git")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state = HttpGit(f"http://127.0.0.1:{server.server_port}", folder)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join(5)


@contextlib.contextmanager
def serve_daemon(folder: Path) -> Iterator[str]:
    """Serve the repositories of a folder by ``git daemon``; returns its URL."""
    port = find_free_port()
    command = [ensure_program("git", "git"), "-c", "safe.directory=*", "daemon", "--export-all", "--reuseaddr"]
    where = [f"--base-path={folder}", "--listen=127.0.0.1", f"--port={port}"]
    with run_daemon([*command, *where], port, folder / "daemon.log"):
        yield f"git://127.0.0.1:{port}"

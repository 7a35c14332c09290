"""The boot daemon: gives out network boots and installer configurations, takes call-backs, keeps a journal.

Runs on boot hosts and on the management node, where nothing but Python 3.9 or newer can be counted on: so it is one
file, longer than others of ours, and uses the standard library alone. It boots a machine from the network only while an
install is wanted and withdraws the entry by itself when the install has started, so that no machine installs itself for
ever. Tokens are per machine and attempt, and good for one install; what is used up, unknown or comes from a foreign
address is refused and written down.

The state directory is the truth: every request reads it, every change is a file renamed into place under a lock. The
daemon and the commands may therefore be killed and started at any moment, and run side by side.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import hashlib
import http.server
import io
import json
import os
import re
import secrets
import shutil
import signal
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

BODY_LIMIT = 4096
"""Bytes of a call-back's body that are kept: the end of the installer's log."""
READ_LIMIT = 65536
"""Bytes of a call-back's body that are read at all."""
JOURNAL_LIMIT = 16 << 20
"""Bytes; a journal longer than that takes no more refusals, so that a port scan can't fill the disk."""
REQUEST_TIMEOUT_SECONDS = 60
LOCK_SECONDS = 1.0
MAX_REQUESTS = 256
"""Requests served at once; more wait to be accepted."""

_SCRIPT = re.compile(r"^/boot/((?:[0-9a-f]{2}-){5}[0-9a-f]{2})\.ipxe$")
_NODE = re.compile(r"^/node/([A-Za-z0-9_-]{16,128})/(kernel|initrd/[0-9]|config|started|finished|failed)$")
_FILE = re.compile(r"^/files/([A-Za-z0-9_+-][A-Za-z0-9._+-]{0,254})$")
_CALL_BACKS = ("started", "finished", "failed")

Json = dict[str, Any]  # an entry: what netboot/entries.py builds, and what this file adds to it


class RefusedError(Exception):
    """A request that is answered with an error status and written down."""

    def __init__(self, status: int, detail: str, entry: Json | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.entry = status, detail, entry or {}


class Store:
    """The state directory: one file for each entry, an index of tokens, and the journal."""

    def __init__(self, directory: str) -> None:
        self.root = Path(directory)
        for path in (self.root, self.root / "entries", self.root / "tokens"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other threads and processes out."""
        with open(self.root / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def entries(self) -> list[Json]:
        """List all entries."""
        return [json.loads(path.read_text()) for path in sorted((self.root / "entries").glob("*.json"))]

    def entry(self, mac: str) -> Json | None:
        """Give the entry of a MAC address with hyphens."""
        try:
            entry: Json = json.loads(self._file(mac).read_text())
        except FileNotFoundError:
            return None
        return entry

    def entry_of_token(self, token: str) -> Json | None:
        """Give the entry that a token belongs to."""
        try:
            return self.entry(self._token_file(token).read_text())
        except FileNotFoundError:
            return None

    def put(self, entry: Json) -> None:
        """Write an entry, its token and, if it has one, its static script."""
        old = self.entry(entry["mac"])
        if old and old["token"] != entry["token"]:
            self._token_file(old["token"]).unlink(missing_ok=True)
        _write(self._file(entry["mac"]), json.dumps(entry))
        _write(self._token_file(entry["token"]), entry["mac"])

    def remove(self, entry: Json) -> None:
        """Forget an entry, its token and its static script."""
        self.remove_script(entry)
        self._token_file(entry["token"]).unlink(missing_ok=True)
        self._file(entry["mac"]).unlink(missing_ok=True)

    def remove_script(self, entry: Json) -> None:
        """Take back the script in the site's own web root."""
        if entry.get("script"):
            Path(entry["script"]).unlink(missing_ok=True)

    def journal(self, since: int) -> list[Json]:
        """List what was written down after sequence number ``since``."""
        try:
            lines = (self.root / "journal.jsonl").read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [record for record in map(json.loads, (x for x in lines if x.endswith(b"\n"))) if record["seq"] > since]

    def record(self, entry: Json, event: str, client: str, detail: str = "") -> None:
        """Write down what happened; the caller holds the lock."""
        with open(self.root / "journal.jsonl", "ab+") as journal:
            size = journal.seek(0, os.SEEK_END)
            if event == "refused" and size > JOURNAL_LIMIT:
                return
            journal.seek(max(0, size - 65536))
            tail = journal.read()
            torn = len(tail) - (tail.rfind(b"\n") + 1)  # a line that a crash cut off
            journal.truncate(size - torn)
            last = json.loads(tail[: len(tail) - torn].splitlines()[-1])["seq"] if len(tail) > torn else 0
            line = {"seq": last + 1, "time": time.time(), "event": event, "client": client, "detail": detail}
            line.update({key: entry.get(key) for key in ("build", "host", "attempt")})
            journal.write(json.dumps(line).encode() + b"\n")
            journal.flush()
            os.fsync(journal.fileno())

    def _file(self, mac: str) -> Path:
        return self.root / "entries" / f"{mac}.json"

    def _token_file(self, token: str) -> Path:
        return self.root / "tokens" / hashlib.sha256(token.encode()).hexdigest()


def _write(path: Path, content: str, mode: int = 0o600) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def stage(store: Store, entries: list[Json]) -> Json:
    """Want an install of these machines; an earlier entry of the same MAC address is replaced."""
    with store.locked():
        for entry in entries:
            mac = entry["mac"].lower().replace(":", "-")
            if not _SCRIPT.match(f"/boot/{mac}.ipxe"):
                raise SystemExit(f"{entry['mac']!r} is no MAC address")
            staged = {**entry, "mac": mac, "wanted": True, "seen": []}
            store.put(staged)
            if entry.get("script"):
                _write(Path(entry["script"]), f"#!ipxe\nchain {entry['server']}/boot/{mac}.ipxe\n", 0o644)
            store.record(staged, "staged" if entry.get("armed", True) else "restored", "local")
    return {"staged": len(entries)}


def withdraw(store: Store, build: str, hosts: list[str] | None, keep_persistent: list[str]) -> Json:
    """Forget the entries of a build (of these hosts, if given); says whose they were and how many are left of all.

    A persistent entry stays where its host is in ``keep_persistent``.
    """
    withdrawn = []
    with store.locked():
        for entry in store.entries():
            wanted = entry["build"] == build and (hosts is None or entry["host"] in hosts)
            if wanted and not (entry["persistent"] and entry["host"] in keep_persistent):
                store.remove(entry)
                store.record(entry, "withdrawn", "local")
                withdrawn.append(entry["host"])
        return {"withdrawn": withdrawn, "left": len(store.entries())}


def render_script(entry: Json) -> str:
    """Render the iPXE script that starts the installer. Source: https://ipxe.org/scripting"""
    node = f"{entry['server']}/node/{entry['token']}"
    count = len(entry["initrds"])
    names = " ".join(f"initrd=initrd{number}" for number in range(count))  # EFI needs them on the command line
    arguments = " ".join([names, f"BOOTIF=01-{entry['mac']}", f"bessemer.node={node}", *entry["arguments"]])
    initrds = [f"initrd --name initrd{number} {node}/initrd/{number}" for number in range(count)]
    return "\n".join(["#!ipxe", f"kernel {node}/kernel {arguments}", *initrds, "boot"]) + "\n"


def build_config(entry: Json) -> bytes:
    """Pack the installer's configuration: install.conf, and root/ with the files to plant."""
    packed = io.BytesIO()
    conf = "".join(f"{key}={value}\n" for key, value in sorted(entry["parameters"].items()))
    files = [("install.conf", 0o600, conf.encode())]
    files += [(f"root/{f['path'].lstrip('/')}", f["mode"], base64.b64decode(f["content"])) for f in entry["files"]]
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, mode, content in files:
            member = tarfile.TarInfo(name)
            member.mode, member.size, member.mtime = mode, len(content), int(time.time())
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def use_script(store: Store, mac: str, client: str) -> str | None:
    """Give a machine its boot script, or None where it shall boot from its disk."""
    with store.locked():
        entry = store.entry(mac)
        if entry is None or not entry["wanted"]:
            return None
        _check_client(entry, client)
        if entry["persistent"]:  # every boot is a new install into memory, with a grant of its own
            entry = {**entry, "seen": [], "token": secrets.token_urlsafe(24)}
            store.put(entry)
        store.record(entry, "script", client)
        return render_script(entry)


def use_token(store: Store, token: str, what: str, client: str, detail: str = "") -> Json:
    """Let a token be used for one thing, write it down, and give the entry it belongs to."""
    with store.locked():
        entry = store.entry_of_token(token)
        if entry is None:
            raise RefusedError(403, f"{what}: unknown token")
        _check_client(entry, client)
        seen = entry["seen"]
        if "finished" in seen or "failed" in seen or (what in seen and not what.startswith(("kernel", "initrd"))):
            raise RefusedError(410, f"{what}: used up", entry)
        if what == "finished" and "config" not in seen:
            raise RefusedError(409, "finished: without its configuration", entry)
        if what in seen:
            return entry
        wanted = entry["wanted"] and (entry["persistent"] or what not in ("kernel", *_CALL_BACKS))
        store.put({**entry, "seen": [*seen, what], "wanted": wanted})
        if not wanted:
            store.remove_script(entry)
        store.record(entry, what, client, detail)
        return entry


def _check_client(entry: Json, client: str) -> None:
    if entry.get("address") and client != entry["address"]:
        raise RefusedError(403, f"address {client} instead of {entry['address']}", entry)


class Handler(http.server.BaseHTTPRequestHandler):
    """One HTTP request."""

    server: Server
    timeout = REQUEST_TIMEOUT_SECONDS

    def do_GET(self) -> None:
        """Serve scripts, kernels, initial RAM disks, configurations and static files."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Take a call-back, with the end of the installer's log as body."""
        self._answer(self._post)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  name given by the standard library
        """Log nothing: paths hold tokens, and the journal has what matters."""

    def _answer(self, method: Callable[[], None]) -> None:
        try:
            method()
        except RefusedError as refused:
            with self.server.store.locked():
                self.server.store.record(refused.entry, "refused", self.client_address[0], refused.detail)
            self._send(refused.status, f"refused: {refused.detail}\n".encode())

    def _get(self) -> None:
        store, client = self.server.store, self.client_address[0]
        script, node, file = _SCRIPT.match(self.path), _NODE.match(self.path), _FILE.match(self.path)
        if self.path == "/health":
            self._send(200, b"ok\n")
        elif script:
            text = use_script(store, script[1], client)
            self._send(200 if text else 404, text.encode() if text else b"boot from disk\n")
        elif node and node[2] not in _CALL_BACKS:
            entry = use_token(store, node[1], node[2], client)
            if node[2] == "config":
                self._send(200, build_config(entry))
            else:
                self._send_source(entry["kernel"] if node[2] == "kernel" else _initrd(entry, node[2]))
        elif file and self.server.static:
            self._send_file(self.server.static / file[1])
        else:
            self._send(404, b"not found\n")

    def _post(self) -> None:
        node = _NODE.match(self.path)
        if not node or node[2] not in _CALL_BACKS:
            return self._send(404, b"not found\n")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > READ_LIMIT:
            return self._send(413 if length.isdecimal() else 411, f"at most {READ_LIMIT} bytes\n".encode())
        tail = self.rfile.read(int(length))[-BODY_LIMIT:].decode(errors="replace")
        use_token(self.server.store, node[1], node[2], self.client_address[0], tail)
        return self._send(200, b"noted\n")

    def _send_source(self, source: str) -> None:
        """Redirect to a URL, or send a file of this host."""
        if source.startswith("/"):
            return self._send_file(Path(source))
        self.send_response(302)
        self.send_header("Location", source)
        self.send_header("Content-Length", "0")
        return self.end_headers()

    def _send_file(self, path: Path) -> None:
        if not path.is_file():
            return self._send(404, b"not found\n")
        with open(path, "rb") as stream:
            self.send_response(200)
            self.send_header("Content-Length", str(os.fstat(stream.fileno()).st_size))
            self.end_headers()
            return shutil.copyfileobj(stream, self.wfile, 1 << 20)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _initrd(entry: Json, what: str) -> str:
    number = int(what.partition("/")[2])
    if number >= len(entry["initrds"]):
        raise RefusedError(404, f"{what}: there is none", entry)
    return str(entry["initrds"][number])


class Server(http.server.ThreadingHTTPServer):
    """The HTTP server; serves a bounded number of requests at once."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], store: Store, static: str | None) -> None:
        self.store, self.static = store, Path(static) if static else None
        self._slots = threading.BoundedSemaphore(MAX_REQUESTS)
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a request as soon as there is a slot."""
        self._slots.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a request and give the slot back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  the standard library's
        """Say in one line what broke, such as a client that went away."""
        sys.stderr.write(f"{client_address[0]}: {sys.exc_info()[1]!r}\n")


def version() -> str:
    """Give the version of this file: the start of its SHA-256."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def serve(store: Store, address: str, port: int, static: str | None) -> None:
    """Serve until a signal; holds a lock on its file, so that there is one daemon for a state directory."""
    with open(store.root / "serve.lock", "a+") as lock:
        take_lock(lock)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with Server((address, port), store, static) as server:
            lock.truncate(0)
            lock.write(json.dumps({"pid": os.getpid(), "address": address, "port": port, "version": version()}))
            lock.flush()
            server.serve_forever()


def take_lock(lock: IO[str]) -> None:
    """Take the daemon's lock; another daemon keeps it, a look at the status only for an instant."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SystemExit("another boot daemon serves this state directory") from None
            time.sleep(0.02)


def status(store: Store) -> Json:
    """Say whether a daemon serves this state directory, and which."""
    try:
        with open(store.root / "serve.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return {"running": False}
            except BlockingIOError:
                return {"running": True, **json.loads(lock.read() or "{}")}
    except FileNotFoundError:
        return {"running": False}


def stop(store: Store) -> Json:
    """End the daemon of this state directory and wait until it is gone."""
    deadline = time.monotonic() + 10
    while (found := status(store))["running"] and time.monotonic() < deadline:
        if "pid" in found:
            os.kill(found["pid"], signal.SIGTERM)
        time.sleep(0.1)
    return {"running": found["running"]}


def main() -> None:
    """Run a command: requests come as JSON on standard input, answers go as JSON to standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("command", choices=["serve", "stage", "withdraw", "list", "journal", "status", "stop"])
    parser.add_argument("--state", default="/var/lib/bessemer/bootd")
    parser.add_argument("--address", help="serve: address to listen on")
    parser.add_argument("--port", type=int, default=8099, help="serve: port to listen on")
    parser.add_argument("--static", help="serve: directory whose files are given out under /files/")
    parser.add_argument("--since", type=int, default=0, help="journal: what came after this sequence number")
    options = parser.parse_args()
    store = Store(options.state)
    if options.command == "serve":
        return serve(store, options.address, options.port, options.static)
    if options.command == "journal":
        sys.stdout.writelines(json.dumps(record) + "\n" for record in store.journal(options.since))
        return None
    request = json.load(sys.stdin) if options.command in ("stage", "withdraw") else {}
    if options.command == "stage":
        answer: Any = stage(store, request["entries"])
    elif options.command == "withdraw":
        answer = withdraw(store, request["build"], request.get("hosts"), request.get("keep_persistent", []))
    elif options.command == "list":
        secret = ("token", "files")
        answer = [{key: value for key, value in entry.items() if key not in secret} for entry in store.entries()]
    else:
        answer = status(store) if options.command == "status" else stop(store)
    sys.stdout.write(json.dumps(answer) + "\n")
    return None


if __name__ == "__main__":
    main()

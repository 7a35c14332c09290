"""The boot daemon: gives out network boots and installer configurations, takes call-backs, keeps a journal.

Runs on boot hosts and on the management node, where nothing but Python 3.9 or newer can be counted on: so it is one
file, longer than our other modules, and uses only the standard library. It boots a machine from the network only while
an install is wanted and withdraws the entry by itself when the installer has called back, so that no machine installs
itself forever. Tokens are per machine and attempt, and good for one install; what is used up, unknown or comes from a
foreign address is refused and written down. So is what does not come from a port that only root can use: a machine's
users have its address, too.

The state directory is the truth: every request reads it, every change is a file renamed into place under a lock. The
daemon and the commands may therefore be killed and started at any moment, and run side by side."""

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
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

BODY_LIMIT = 4096
"""Bytes of a call-back's body that are kept: the end of the installer's log."""
READ_LIMIT = 65536
"""Bytes of a call-back's body that are read at all."""
HEAD_LIMIT = 16384
"""Bytes of a request's line and headers."""
HEAD_SECONDS = 5.0
"""So long a client may take for the whole head of its request."""
BODY_SECONDS = 10.0
SEND_SECONDS = 60.0
"""So long a client may take for each MiB of an answer."""
LOCK_SECONDS = 1.0
MAX_REQUESTS = 1024
"""Requests served at once; more wait to be accepted."""
ADDRESS_REQUESTS = 8
"""Requests served at once for one address; more are closed unread, so that no one address keeps others waiting."""
ROOT_PORTS = 1024
"""Ports below this are root's on a client: from these alone the configuration is fetched and call-backs are taken. An
address says which machine asks; this says that no ordinary user of it does. Source: ip(7), ip_unprivileged_port_start
"""
MAX_BOOTS = 5
"""So often a machine may begin one install again before its installer has called back."""
BOOT_EVENT_SECONDS = 8.0
"""So long a boot script waits until DHCP has told of the machine's boot, which may come a moment later."""
BOOT_EVENT_AGE_SECONDS = 300.0
COMPACT_BYTES = 1 << 20
"""A journal is compacted when it is longer than this, and longer than twice what was kept the last time."""
JOURNAL_BYTES = 16 << 20
"""Where more would be kept than this, fewer events of each machine are."""
KEPT_EVENTS = (8, 4, 2, 1)
"""Events kept of each kind, machine and build."""
KEPT_BUILDS = 64
"""Builds without a boot entry whose events are kept, the latest ones."""
LINE_LIMIT = 65536
REFUSAL_SECONDS = 1.0
"""The same refusal to the same address is written down no more often than this."""

_SCRIPT = re.compile(r"^/boot/((?:[0-9a-f]{2}-){5}[0-9a-f]{2})\.ipxe$")
_NODE = re.compile(r"^/node/([A-Za-z0-9_-]{16,128})/(kernel|initrd/[0-9]|config|started|finished|failed)$")
_FILE = re.compile(r"^/files/([A-Za-z0-9_+-][A-Za-z0-9._+-]{0,254})$")
_CALL_BACKS = ("started", "finished", "failed")

Json = dict[str, Any]  # an entry: what netboot/entries.py builds, and what this file adds to it


class Client(NamedTuple):
    """Who asks."""

    address: str
    is_root: bool
    """Whether the request comes from a port that takes root on its machine."""


class RefusedError(Exception):
    """A request that is answered with an error status and written down."""

    def __init__(self, status: int, detail: str, entry: Json | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.entry = status, detail, entry or {}


class Journal:
    """What has happened, one JSON object a line; bounded whatever happens, and readable whatever stands in the file.

    The first line may say how long the file was after it was last compacted. The caller of all that writes holds the
    state directory's lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, since: int = 0, build: str | None = None, limit: int | None = None) -> list[Json]:
        """List events after sequence number ``since``, in order: of all builds, or those of one and of none."""
        found: list[Json] = []
        try:
            with open(self.path, "rb") as stream:
                for line in stream:
                    record = _parse_line(line)
                    if record is None or record["seq"] <= since or (build and record["build"] not in (build, None)):
                        continue
                    found.append(record)
                    if limit is not None and len(found) >= limit:
                        break
        except FileNotFoundError:
            pass
        return found

    def append(self, record: Json, builds: Callable[[], set[str]]) -> None:
        """Write an event down under the next sequence number; ``builds`` lists those that have boot entries."""
        with open(self.path, "ab+") as stream:
            stream.seek(0)
            first = _parse_json(stream.readline(LINE_LIMIT))
            compacted = first.get("compacted", 0) if isinstance(first, dict) else 0
            kept = compacted if isinstance(compacted, int) else 0
            size = stream.seek(0, os.SEEK_END)
            for length in (1024, LINE_LIMIT):
                stream.seek(max(0, size - length))
                tail = stream.read()
                known = [found["seq"] for line in tail.splitlines() if (found := _parse_line(line + b"\n"))]
                if known or size <= length:
                    break
            else:
                known = [found["seq"] for found in self.read()]
            torn = len(tail) - (tail.rfind(b"\n") + 1)  # what a crash cut off
            stream.truncate(size - torn)
            line = {"seq": max(known, default=0) + 1, "time": time.time(), **record}
            written = json.dumps(line).encode() + b"\n"
            stream.write(written)
            stream.flush()
            os.fsync(stream.fileno())
        if size - torn + len(written) > max(COMPACT_BYTES, 2 * kept):
            self.compact(builds())

    def compact(self, builds: set[str]) -> None:
        """Keep the last events of each kind, machine and build; of builds without entries the latest ones alone."""
        records = self.read()
        others = dict.fromkeys(found["build"] for found in reversed(records) if found["build"] not in builds)
        wanted = builds | set(list(others)[:KEPT_BUILDS]) | {None}
        for most in KEPT_EVENTS:
            counts: dict[tuple[Any, ...], int] = {}
            kept = []
            for found in reversed(records):
                key = (found["build"], found["host"], found["event"].partition("/")[0])
                counts[key] = counts.get(key, 0) + 1
                if counts[key] <= most and found["build"] in wanted:
                    kept.append(json.dumps(found) + "\n")
            size = sum(map(len, kept))
            if size <= JOURNAL_BYTES:
                break
        _write(self.path, json.dumps({"compacted": size}) + "\n" + "".join(reversed(kept)))


class Store:
    """The state directory: one file for each entry, an index of tokens, boots that DHCP has told of, the journal."""

    def __init__(self, directory: str) -> None:
        self.root = Path(directory)
        for path in (self.root, self.root / "entries", self.root / "tokens", self.root / "boots"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.journal = Journal(self.root / "journal.jsonl")

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
        """Return the entry of a MAC address with hyphens."""
        try:
            entry: Json = json.loads(self._file(mac).read_text())
        except FileNotFoundError:
            return None
        return entry

    def entry_of_token(self, token: str) -> Json | None:
        """Return the entry that a token belongs to."""
        try:
            return self.entry(self._token_file(token).read_text())
        except FileNotFoundError:
            return None

    def put(self, entry: Json) -> None:
        """Write an entry and its token."""
        old = self.entry(entry["mac"])
        if old and old["token"] != entry["token"]:
            self._token_file(old["token"]).unlink(missing_ok=True)
        _write(self._file(entry["mac"]), json.dumps(entry))
        _write(self._token_file(entry["token"]), entry["mac"])

    def remove(self, entry: Json) -> None:
        """Forget an entry, its token and its static script."""
        self.remove_script(entry)
        self._token_file(entry["token"]).unlink(missing_ok=True)
        self.forget_boot(entry["mac"])
        self._file(entry["mac"]).unlink(missing_ok=True)

    def remove_script(self, entry: Json) -> None:
        """Take back the script in the site's own web root."""
        if entry.get("script"):
            Path(entry["script"]).unlink(missing_ok=True)

    def has_booted(self, mac: str) -> bool:
        """Return whether DHCP has just told that a machine boots from the network (see role boot_server)."""
        try:
            return abs(time.time() - (self.root / "boots" / mac).stat().st_mtime) <= BOOT_EVENT_AGE_SECONDS
        except FileNotFoundError:
            return False

    def forget_boot(self, mac: str) -> None:
        """Take what DHCP has told of a machine as done with."""
        (self.root / "boots" / mac).unlink(missing_ok=True)

    def record(self, entry: Json, event: str, client: str, detail: str = "") -> None:
        """Write down what happened; the caller holds the lock."""
        about = {key: entry.get(key) for key in ("build", "host", "attempt")}
        record = {"event": event, "client": client, "detail": detail, **about}
        self.journal.append(record, lambda: {found["build"] for found in self.entries()})

    def _file(self, mac: str) -> Path:
        return self.root / "entries" / f"{mac}.json"

    def _token_file(self, token: str) -> Path:
        return self.root / "tokens" / hashlib.sha256(token.encode()).hexdigest()


def _parse_json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _parse_line(line: bytes) -> Json | None:
    """Read one line of a journal; None if it is torn, or nothing that this program has written."""
    if not line.endswith(b"\n") or len(line) > LINE_LIMIT:
        return None
    record = _parse_json(line)
    if not isinstance(record, dict) or type(record.get("seq")) is not int or record["seq"] < 1:
        return None
    texts = all(isinstance(record.get(key), str) for key in ("event", "client", "detail"))
    names = all(record.get(key) is None or isinstance(record[key], str) for key in ("build", "host", "attempt"))
    return {"build": None, "host": None, "attempt": None, **record} if texts and names else None


def make_printable(body: bytes) -> str:
    """Return the text of a call-back's body: line feeds and tabs stay, what can't be shown becomes ``?``."""
    text = body.decode(errors="replace").replace("\ufffd", "?")
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)


def _write(path: Path, content: str, mode: int = 0o600) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def stage(store: Store, entries: list[Json]) -> Json:
    """Want an install of these machines; an earlier entry of the same MAC address is replaced.

    An entry that is not ``armed`` is for a machine that runs: it is good from the machine's next boot on, and where the
    machine has such an entry already, how far it is with that stays.
    """
    with store.locked():
        for entry in entries:
            mac = entry["mac"].lower().replace(":", "-")
            if not _SCRIPT.match(f"/boot/{mac}.ipxe"):
                raise SystemExit(f"{entry['mac']!r} is no MAC address")
            armed = entry.get("armed", True)
            staged = {**entry, "mac": mac, "wanted": True, "armed": armed, "seen": [], "boots": 0}
            old = store.entry(mac)
            if (
                not armed
                and old
                and old["persistent"]
                and (old["build"], old["host"]) == (entry["build"], entry["host"])
            ):
                staged.update({key: old.get(key, staged[key]) for key in ("token", "armed", "seen", "boots")})
            else:
                store.forget_boot(mac)
            store.put(staged)
            if entry.get("script"):
                _write(Path(entry["script"]), f"#!ipxe\nchain {entry['server']}/boot/{mac}.ipxe || exit 1\n", 0o644)
            store.record(staged, "staged" if armed else "restored", "local")
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
    """Render the iPXE script that starts the installer, and tries a few times to fetch it.

    It ends by ``exit 1``, since a plain ``exit`` makes UEFI firmware believe that something was booted. Sources:
    https://ipxe.org/scripting, https://ipxe.org/cmd/inc
    """
    node = f"{entry['server']}/node/{entry['token']}"
    count = len(entry["initrds"])
    names = " ".join(f"initrd=initrd{number}" for number in range(count))  # EFI needs them on the command line
    arguments = " ".join([names, f"BOOTIF=01-{entry['mac']}", f"bessemer.node={node}", *entry["arguments"]])
    fetches = [f"kernel {node}/kernel {arguments}"]
    fetches += [f"initrd --name initrd{number} {node}/initrd/{number}" for number in range(count)]
    tries = ["set tries:int32 0", ":again", *(f"{fetch} || goto failed" for fetch in [*fetches, "boot"])]
    failed = [":failed", "imgfree", "inc tries", "iseq ${tries} 4 && goto done ||", "sleep 3", "goto again"]
    return "\n".join(["#!ipxe", *tries, *failed, ":done", "exit 1"]) + "\n"


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
    """Return a machine's boot script, or None where it shall boot from its disk.

    The entry of a stateless machine is good for one boot. It is good again when the machine was power-cycled by us
    (it is staged again), or when DHCP has seen it boot; never because a script is asked for, which any user of the
    machine can do. Where DHCP is not ours and doesn't tell, asking has to do; the rest still takes root.
    """
    with store.locked():
        entry = store.entry(mac)
        if entry is None or not entry["wanted"]:
            return None
        _check_client(entry, client)
        if entry["persistent"]:
            told = store.has_booted(mac) or not entry.get("boot_events", True)
            if not told and not entry.get("armed", False):
                raise RefusedError(404, "script: it has not booted from the network since", entry)
            if told:  # what was asked for before, by whichever user, takes nothing from this boot
                entry = {**entry, "armed": True, "boots": 0}
            entry = {**entry, "seen": [], "token": secrets.token_urlsafe(24)}
        boots = entry.get("boots", 0) + 1
        if boots > MAX_BOOTS:
            store.put({**entry, "wanted": entry["persistent"], "armed": False})
            store.remove_script(entry)
            store.forget_boot(mac)
            raise RefusedError(404, f"script: {MAX_BOOTS} boots, and the installer never called back", entry)
        store.forget_boot(mac)
        store.put({**entry, "boots": boots})
        store.record(entry, "script", client)
        return render_script(entry)


def use_token(store: Store, token: str, what: str, client: Client, detail: str = "") -> Json:
    """Use a token for one purpose, record that, and return the entry that it belongs to."""
    installs = what == "config" or what in _CALL_BACKS
    with store.locked():
        entry = store.entry_of_token(token)
        if entry is None:
            raise RefusedError(403, f"{what.partition('/')[0]}: unknown token")
        _check_client(entry, client.address)
        if installs and not client.is_root:
            raise RefusedError(403, f"{what}: not from a port below {ROOT_PORTS}, which takes root", entry)
        seen = entry["seen"]
        if "finished" in seen or "failed" in seen or (what in seen and not what.startswith(("kernel", "initrd"))):
            raise RefusedError(410, f"{what}: used up", entry)
        if what == "finished" and "config" not in seen:
            raise RefusedError(409, "finished: without its configuration", entry)
        if what.startswith("initrd/") and int(what.partition("/")[2]) >= len(entry["initrds"]):
            raise RefusedError(404, f"{what}: there is none", entry)
        if what in seen:
            return entry
        used = {**entry, "seen": [*seen, what], "wanted": entry["wanted"] and (entry["persistent"] or not installs)}
        if what == "config":  # what is given once is used up, until the next boot
            used["armed"] = False
            store.forget_boot(entry["mac"])
        store.put(used)
        if not used["wanted"]:
            store.remove_script(entry)
        store.record(entry, what, client.address, detail or _count_initrds(entry, what))
        return entry


def _check_client(entry: Json, client: str) -> None:
    if entry.get("address") and client != entry["address"]:
        raise RefusedError(403, f"address {client} instead of {entry['address']}", entry)


def _count_initrds(entry: Json, what: str) -> str:
    kind, _, number = what.partition("/")
    return f"{int(number) + 1} of {len(entry['initrds'])}" if kind == "initrd" else ""


class Received(io.RawIOBase):
    """What a client sends: within a deadline, and not more than a number of bytes."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        super().__init__()
        self._connection, self._left = connection, HEAD_LIMIT + READ_LIMIT
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        """Reset the deadline."""
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        """Return True; see io.RawIOBase."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive a part; see io.RawIOBase."""
        left = self._deadline - time.monotonic()
        if left <= 0 or not self._left:
            raise socket.timeout("it takes too long, or is too long")  # noqa: UP041  Python 3.9 knows two of them
        self._connection.settimeout(left)
        count = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count


class Handler(http.server.BaseHTTPRequestHandler):
    """One HTTP request."""

    server: Server

    def setup(self) -> None:
        """Read within deadlines; see socketserver."""
        super().setup()
        self.rfile.close()
        self._received = Received(self.connection, HEAD_SECONDS)
        self.rfile = io.BufferedReader(self._received)

    def do_GET(self) -> None:
        """Serve scripts, kernels, initial RAM disks, configurations and static files."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Take a call-back, with the end of the installer's log as body."""
        self._answer(self._post)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  name given by the standard library
        """Log nothing: paths hold tokens, and the journal has what matters."""

    def _answer(self, method: Callable[[], None]) -> None:
        self.connection.settimeout(SEND_SECONDS)
        try:
            method()
        except RefusedError as refused:
            if self.server.is_news(self.client_address[0], refused.detail):
                with self.server.store.locked():
                    self.server.store.record(refused.entry, "refused", self.client_address[0], refused.detail)
            self._send(refused.status, f"refused: {refused.detail}\n".encode())

    def _get(self) -> None:
        store, client = self.server.store, self.client_address[0]
        script, node, file = _SCRIPT.match(self.path), _NODE.match(self.path), _FILE.match(self.path)
        if self.path == "/health":
            self._send(200, b"ok\n")
        elif script:
            self._wait_for_boot_event(script[1])
            text = use_script(store, script[1], client)
            self._send(200 if text else 404, text.encode() if text else b"boot from disk\n")
        elif node and node[2] not in _CALL_BACKS:
            entry = use_token(store, node[1], node[2], self._client)
            if node[2] == "config":
                self._send(200, build_config(entry))
            else:
                number = node[2].partition("/")[2]
                self._send_source(entry["initrds"][int(number)] if number else entry["kernel"])
        elif file and self.server.static:
            self._send_file(self.server.static / file[1])
        else:
            self._send(404, b"not found\n")

    def _post(self) -> None:
        node = _NODE.match(self.path)
        if not node or node[2] not in _CALL_BACKS:
            return self._send(404, b"not found\n")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal() and len(length) < 10) or int(length) > READ_LIMIT:
            return self._send(413 if length.isdecimal() else 411, f"at most {READ_LIMIT} bytes\n".encode())
        self._received.allow(BODY_SECONDS)
        body = self.rfile.read(int(length))
        self.connection.settimeout(SEND_SECONDS)
        if len(body) < int(length):
            return self._send(400, b"cut off\n")
        tail = make_printable(body[-BODY_LIMIT:])
        use_token(self.server.store, node[1], node[2], self._client, tail)
        return self._send(200, b"noted\n")

    @property
    def _client(self) -> Client:
        address, port = self.client_address[:2]
        return Client(address, port < self.server.root_ports)

    def _wait_for_boot_event(self, mac: str) -> None:
        """Wait for what DHCP is about to tell of a stateless machine that asks for its script."""
        store, entry = self.server.store, self.server.store.entry(mac)
        if entry is None or not entry["persistent"] or entry.get("armed", False) or not entry.get("boot_events", True):
            return
        if self.client_address[0] != entry["address"]:
            return
        deadline = time.monotonic() + BOOT_EVENT_SECONDS
        while not store.has_booted(mac) and time.monotonic() < deadline:
            time.sleep(0.1)

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


class Server(http.server.ThreadingHTTPServer):
    """The HTTP server; serves a bounded number of requests at once, and few for one address."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(
        self, address: tuple[str, int], store: Store, static: str | None, root_ports: int = ROOT_PORTS
    ) -> None:
        self.store, self.static, self.root_ports = store, Path(static) if static else None, root_ports
        self._slots = threading.BoundedSemaphore(MAX_REQUESTS)
        self._lock = threading.Lock()
        self._served: dict[str, int] = {}
        self._refusals: dict[tuple[str, str], float] = {}
        self._errors_left = 100
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a request as soon as there is a slot; close it if its address has all that it may have."""
        with self._lock:
            served = self._served.get(client_address[0], 0)
            if served < ADDRESS_REQUESTS:
                self._served[client_address[0]] = served + 1
        if served >= ADDRESS_REQUESTS:
            return self.shutdown_request(request)
        self._slots.acquire()
        try:
            return super().process_request(request, client_address)
        except BaseException:
            self._release(client_address[0])
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a request and give the slot back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._release(client_address[0])

    def is_news(self, client: str, detail: str) -> bool:
        """Return whether a refusal is written down: not if it was the same a moment ago."""
        now = time.monotonic()
        with self._lock:
            if len(self._refusals) >= 4096:
                self._refusals.clear()
            if now - self._refusals.get((client, detail), -REFUSAL_SECONDS) < REFUSAL_SECONDS:
                return False
            self._refusals[client, detail] = now
            return True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  the standard library's
        """Say in one line what broke; not that a client went away, and a bounded number of times."""
        error = sys.exc_info()[1]
        gone = isinstance(error, (ConnectionError, socket.timeout))  # of which Python 3.9 has two
        if not gone and self._errors_left > 0:
            self._errors_left -= 1
            sys.stderr.write(f"{client_address[0]}: {error!r}\n")

    def _release(self, address: str) -> None:
        self._slots.release()
        with self._lock:
            self._served[address] -= 1
            if not self._served[address]:
                del self._served[address]


def version() -> str:
    """Return the version of this file: the start of its SHA-256."""
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
    """Return whether a daemon serves this state directory, and which."""
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
    parser.add_argument("--build", help="journal: what is of this build, or of none")
    parser.add_argument("--limit", type=int, help="journal: at most so many events, the first ones")
    options = parser.parse_args()
    store = Store(options.state)
    if options.command == "serve":
        return serve(store, options.address, options.port, options.static)
    if options.command == "journal":
        records = store.journal.read(options.since, options.build, options.limit)
        sys.stdout.writelines(json.dumps(record) + "\n" for record in records)
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

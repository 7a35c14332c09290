"""A boot server reached by SSH: bootd and its commands on a given boot host or on the management node.

On a given boot host the daemon and the installer are uploaded, under names that hold their digest, and the daemon is
started if it doesn't run yet; ``release`` takes both away. On the management node the daemon is a system service.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from bessemer.foreign import Unreadable, decode_json, make_line, make_text, parse_int
from bessemer.machines.machine import SshTarget
from bessemer.machines.netboot.dhcp_log import CLOCK_FORMAT, explain_dhcp
from bessemer.machines.netboot.server import (
    BASE_DIRECTORY,
    BootEntry,
    BootEvent,
    BootEventKind,
    BootServerFailed,
    Withdrawn,
)
from bessemer.machines.ssh import Ssh

SERVICE_DAEMON = "/usr/local/lib/bessemer/bootd.py"
"""Where role boot_server installs the daemon on the management node."""
DHCP_LOG = "/var/log/bessemer-dnsmasq.log"
"""Where role boot_server has dnsmasq write what it gives to which machine, and why not."""
DHCP_LOG_BYTES = 1 << 20
START_DEADLINE_SECONDS = 15.0
PAGE_EVENTS = 1000
"""Events that are read from a journal at once."""
EVENT_BYTES, EVENT_CHARACTERS = 65536, 4096
"""Most of one line of a journal, and of the end of an installer's log in it."""
JOURNAL_CHARACTERS = 48 << 20
"""Maximum size of a journal that is read at once, as a remote host could send data forever; the daemon keeps 16 MiB,
and has twice that before it compacts."""
ANSWER_BYTES = 16 << 20
WORDS = 300
"""Characters of a foreign message that are told."""

T = TypeVar("T")


@dataclass(frozen=True)
class BootEndpoint:
    """Where a boot server is and how it is run."""

    target: SshTarget
    address: str
    """Address that its daemon listens on."""
    port: int
    service_daemon: str | None = None
    """Path of the daemon where it is a service of the system; None where we upload and start it."""
    base_directory: str = BASE_DIRECTORY
    dhcp_log: str = DHCP_LOG


class SshBootServer:
    """A boot server whose commands are run by SSH."""

    def __init__(self, ssh: Ssh, endpoint: BootEndpoint, installer_file: Path) -> None:
        self._ssh = ssh
        self._endpoint = endpoint
        self._installer_file = installer_file
        self._daemon = files("bessemer.machines.netboot").joinpath("bootd.py").read_bytes()
        self._installer_digest: str | None = None

    @property
    def installer(self) -> str:
        """Where the installer lies; see BootServer."""
        if self._installer_digest is None:
            self._installer_digest = hashlib.sha256(self._installer_file.read_bytes()).hexdigest()[:16]
        return f"{self._endpoint.base_directory}/upload/installer-{self._installer_digest}.cpio.gz"

    def prepare(self) -> None:
        """Ensure that the daemon runs and the installer is in place; see BootServer."""
        self._run(f"mkdir -p -m 0700 {shlex.quote(self._endpoint.base_directory + '/upload')}")
        self._upload_once(self.installer, self._installer_file.read_bytes())
        self._upload_once(self._program, self._daemon)
        if self._endpoint.service_daemon is None:
            self._start_daemon()

    def stage(self, entries: Sequence[BootEntry]) -> None:
        """Stage entries; see BootServer."""
        if entries:
            self._command("stage", _parse_object, {"entries": list(entries)})

    def withdraw(
        self, build: str, hosts: Collection[str] | None = None, keep_persistent: Collection[str] = ()
    ) -> Withdrawn:
        """Take entries back; see BootServer."""
        if not self._has_daemon():
            return Withdrawn((), 0)
        named = None if hosts is None else sorted(hosts)
        request = {"build": build, "hosts": named, "keep_persistent": sorted(keep_persistent)}
        return self._command("withdraw", _parse_withdrawn, request)

    def list_events(self, build: str, since: int) -> list[BootEvent]:
        """Read the journal; see BootServer."""
        events: list[BootEvent] = []
        read = 0
        while True:
            options = f"--build {shlex.quote(build)} --since {since} --limit {PAGE_EVENTS}"
            text = self._run(f"{self._python} journal {self._state} {options}")
            page = [self._parse(line, parse_event, EVENT_BYTES) for line in text.splitlines()]
            read += len(text)
            events += page
            if len(page) < PAGE_EVENTS:
                return events
            if page[-1].sequence <= since:
                raise self._failed("its journal doesn't go on")
            if read > JOURNAL_CHARACTERS:
                raise self._failed(f"its journal has more than {JOURNAL_CHARACTERS >> 20} MiB")
            since = page[-1].sequence

    def explain_silence(self, machines: Mapping[str, str], seconds: float) -> dict[str, str]:
        """Read the log of the management node's DHCP; see BootServer."""
        if self._endpoint.service_daemon is None:
            return {}
        log = shlex.quote(self._endpoint.dhcp_log)
        now, _, lines = self._run(f"LC_ALL=C date '+{CLOCK_FORMAT}' && tail -c {DHCP_LOG_BYTES} {log}").partition("\n")
        return explain_dhcp(lines, now, machines, seconds)

    def release(self) -> None:
        """Stop the daemon and remove what was uploaded, if nothing is staged; see BootServer."""
        if self._endpoint.service_daemon is not None or not self._has_daemon():
            return
        if self._command("list", _parse_list):
            return
        if self._command("stop", _parse_object)["running"]:
            raise self._failed("the boot daemon doesn't end")
        base = shlex.quote(self._endpoint.base_directory)
        self._run(f"rm -rf {base}/bootd {base}/upload; rmdir {base} 2>/dev/null || true")

    @property
    def _program(self) -> str:
        """Where our own version lies; its commands are run even where another version serves, as they share the state.

        A management node keeps the version with which it was configured, whatever version of us comes later.
        """
        return f"{self._endpoint.base_directory}/upload/bootd-{_version(self._daemon)}.py"

    @property
    def _python(self) -> str:
        return f"python3 {shlex.quote(self._program)}"

    @property
    def _state(self) -> str:
        return f"--state {shlex.quote(self._endpoint.base_directory + '/bootd')}"

    def _has_daemon(self) -> bool:
        """Whether there is anything to take back; what another version of us has left, this one takes back."""
        upload = f"{self._endpoint.base_directory}/upload"
        if not self._exists(self._endpoint.service_daemon or upload):
            return False
        self._run(f"mkdir -p -m 0700 {shlex.quote(upload)}")
        self._upload_once(self._program, self._daemon)
        return True

    def _exists(self, path: str) -> bool:
        """Return whether a file is there; that it could not be found out is no answer."""
        answer = self._run(f"if test -e {shlex.quote(path)}; then echo yes; else echo no; fi").strip()
        if answer not in ("yes", "no"):
            raise self._failed(f"{path}: it can't be told whether it is there")
        return answer == "yes"

    def _start_daemon(self) -> None:
        """Start the daemon, unless this version already serves where we want it."""
        endpoint = self._endpoint
        found = self._command("status", _parse_object)
        wanted = {"address": endpoint.address, "port": endpoint.port, "version": _version(self._daemon)}
        if found["running"]:
            if wanted.items() <= found.items():
                return
            self._command("stop", _parse_object)
        log = shlex.quote(f"{endpoint.base_directory}/upload/bootd.log")
        serve = f"{self._python} serve {self._state} --address {shlex.quote(endpoint.address)} --port {endpoint.port}"
        self._run(f"setsid nohup {serve} >{log} 2>&1 </dev/null &")
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while not wanted.items() <= self._command("status", _parse_object).items():
            if time.monotonic() > deadline:
                tail = make_line(self._ssh.run(endpoint.target, f"tail -n 3 {log}").stdout, WORDS)
                raise self._failed(f"the boot daemon didn't start: {tail}")
            time.sleep(0.2)

    def _upload_once(self, path: str, content: bytes) -> None:
        """Upload a file, unless just this content is there: one of the same size may be another, or be damaged."""
        found = self._ssh.run(self._endpoint.target, f"sha256sum < {shlex.quote(path)}")
        if found.exit_code != 0 or found.stdout.split()[:1] != [hashlib.sha256(content).hexdigest()]:
            self._ssh.upload(self._endpoint.target, content, path)

    def _command(self, command: str, parse: Callable[[Any], T], request: Any = None) -> T:
        stdin = b"" if request is None else json.dumps(request).encode()
        return self._parse(self._run(f"{self._python} {command} {self._state}", stdin), parse, ANSWER_BYTES)

    def _parse(self, text: str, parse: Callable[[Any], T], most_bytes: int) -> T:
        try:
            return parse(decode_json(text, most_bytes=most_bytes))
        except Unreadable as error:
            raise self._failed(f"the boot daemon's answer can't be read: {error}") from error

    def _run(self, command: str, stdin: bytes = b"") -> str:
        result = self._ssh.run(self._endpoint.target, command, stdin)
        if result.exit_code != 0:
            last = make_line((result.stderr.strip().splitlines() or ["no message"])[-1], WORDS)
            raise self._failed(f"exit code {result.exit_code}: {last}")
        return result.stdout

    def _failed(self, why: str) -> BootServerFailed:
        return BootServerFailed(f"{self._endpoint.target.name}: {why}")


def parse_event(record: Any) -> BootEvent:
    """Make an event from one line of bootd's journal; kinds we don't know are OTHER.

    Raises:
        Unreadable: it is none.
    """
    texts = [_get(record, key, str) for key in ("event", "detail", "client")]
    names = [_get(record, key, str, type(None)) for key in ("host", "attempt")]
    kind = texts[0].partition("/")[0]
    return BootEvent(
        sequence=parse_int(_get(record, "seq", int), least=1),
        kind=BootEventKind(kind) if kind in set(BootEventKind) else BootEventKind.OTHER,
        host=names[0],
        attempt=names[1],
        detail=make_text(texts[1], EVENT_CHARACTERS),
        client=make_line(texts[2], 64),
    )


def _parse_withdrawn(answer: Any) -> Withdrawn:
    hosts = _get(answer, "withdrawn", list)
    if not all(isinstance(host, str) for host in hosts):
        raise Unreadable("withdrawn: not a list of names")
    return Withdrawn(tuple(hosts), parse_int(_get(answer, "left", int)))


def _parse_object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise Unreadable("not an object")
    return answer


def _parse_list(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise Unreadable("not a list")
    return answer


def _get(answer: Any, key: str, *types: type) -> Any:
    value = _parse_object(answer).get(key)
    if not isinstance(value, types):
        raise Unreadable(f"{key}: {type(value).__name__} is not what it should be")
    return value


def _version(daemon: bytes) -> str:
    return hashlib.sha256(daemon).hexdigest()[:16]

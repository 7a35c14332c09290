"""A boot server reached by SSH: bootd and its commands on a given boot host or on the management node.

On a given boot host the daemon and the installer are uploaded, under names that hold their digest, and the daemon is
started if it doesn't run yet; ``release`` takes both away. On the management node the daemon is a system service.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from bessemer.phases.machines import SshTarget
from bessemer.phases.netboot.server import (
    BASE_DIRECTORY,
    BootEntry,
    BootEvent,
    BootEventKind,
    BootServerFailed,
    Withdrawn,
)
from bessemer.phases.ssh import Ssh

SERVICE_DAEMON = "/usr/local/lib/bessemer/bootd.py"
"""Where role boot_server installs the daemon on the management node."""
START_DEADLINE_SECONDS = 15.0


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


class SshBootServer:
    """A boot server whose commands are run by SSH."""

    def __init__(self, ssh: Ssh, endpoint: BootEndpoint, installer_file: Path) -> None:
        self._ssh = ssh
        self._endpoint = endpoint
        self._installer_file = installer_file
        self._daemon = files("bessemer.phases.netboot").joinpath("bootd.py").read_bytes()
        self._installer_digest: str | None = None

    @property
    def installer(self) -> str:
        """Where the installer lies; see BootServer."""
        if self._installer_digest is None:
            self._installer_digest = hashlib.sha256(self._installer_file.read_bytes()).hexdigest()[:16]
        return f"{self._endpoint.base_directory}/upload/installer-{self._installer_digest}.cpio.gz"

    def prepare(self) -> None:
        """Have the daemon running and the installer in place; see BootServer."""
        self._run(f"mkdir -p -m 0700 {shlex.quote(self._endpoint.base_directory + '/upload')}")
        self._upload_once(self.installer, self._installer_file.read_bytes())
        if self._endpoint.service_daemon is None:
            self._upload_once(self._daemon_path, self._daemon)
            self._start_daemon()

    def stage(self, entries: Sequence[BootEntry]) -> None:
        """Stage entries; see BootServer."""
        if entries:
            self._command("stage", {"entries": list(entries)})

    def withdraw(
        self, build: str, hosts: Collection[str] | None = None, keep_persistent: Collection[str] = ()
    ) -> Withdrawn:
        """Take entries back; see BootServer."""
        if not self._has_daemon():
            return Withdrawn((), 0)
        named = None if hosts is None else sorted(hosts)
        request = {"build": build, "hosts": named, "keep_persistent": sorted(keep_persistent)}
        answer = self._command("withdraw", request)
        return Withdrawn(tuple(answer["withdrawn"]), answer["left"])

    def list_events(self, build: str, since: int) -> list[BootEvent]:
        """Read the journal; see BootServer."""
        output = self._run(f"{self._python} journal {self._state} --since {since}")
        records = [json.loads(line) for line in output.splitlines()]
        return [parse_event(record) for record in records if record["build"] in (build, None)]

    def release(self) -> None:
        """Stop the daemon and remove what was uploaded, if nothing is staged; see BootServer."""
        if self._endpoint.service_daemon is not None or not self._has_daemon() or self._command("list"):
            return
        if self._command("stop")["running"]:
            raise BootServerFailed(f"{self._endpoint.target.name}: the boot daemon doesn't end")
        base = shlex.quote(self._endpoint.base_directory)
        self._run(f"rm -rf {base}/bootd {base}/upload; rmdir {base} 2>/dev/null || true")

    @property
    def _daemon_path(self) -> str:
        digest = hashlib.sha256(self._daemon).hexdigest()[:16]
        return self._endpoint.service_daemon or f"{self._endpoint.base_directory}/upload/bootd-{digest}.py"

    @property
    def _python(self) -> str:
        return f"python3 {shlex.quote(self._daemon_path)}"

    @property
    def _state(self) -> str:
        return f"--state {shlex.quote(self._endpoint.base_directory + '/bootd')}"

    def _has_daemon(self) -> bool:
        """Whether there is anything to take back; what another version of us has left, this one takes back."""
        if self._endpoint.service_daemon is not None:
            return self._exists(self._endpoint.service_daemon)
        if not self._exists(f"{self._endpoint.base_directory}/upload"):
            return False
        self._upload_once(self._daemon_path, self._daemon)
        return True

    def _exists(self, path: str) -> bool:
        return self._ssh.run(self._endpoint.target, f"test -e {shlex.quote(path)}").exit_code == 0

    def _start_daemon(self) -> None:
        """Start the daemon, unless this version already serves where we want it."""
        endpoint = self._endpoint
        found = self._command("status")
        wanted = {"address": endpoint.address, "port": endpoint.port, "version": _version(self._daemon)}
        if found["running"]:
            if wanted.items() <= found.items():
                return
            self._command("stop")
        log = shlex.quote(f"{endpoint.base_directory}/upload/bootd.log")
        serve = f"{self._python} serve {self._state} --address {shlex.quote(endpoint.address)} --port {endpoint.port}"
        self._run(f"setsid nohup {serve} >{log} 2>&1 </dev/null &")
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while not wanted.items() <= self._command("status").items():
            if time.monotonic() > deadline:
                tail = self._ssh.run(endpoint.target, f"tail -n 3 {log}").stdout.strip()
                raise BootServerFailed(f"{endpoint.target.name}: the boot daemon didn't start: {tail}")
            time.sleep(0.2)

    def _upload_once(self, path: str, content: bytes) -> None:
        size = self._ssh.run(self._endpoint.target, f"stat -c %s {shlex.quote(path)}")
        if size.exit_code != 0 or size.stdout.strip() != str(len(content)):
            self._ssh.upload(self._endpoint.target, content, path)

    def _command(self, command: str, request: Any = None) -> Any:
        stdin = b"" if request is None else json.dumps(request).encode()
        return json.loads(self._run(f"{self._python} {command} {self._state}", stdin))

    def _run(self, command: str, stdin: bytes = b"") -> str:
        result = self._ssh.run(self._endpoint.target, command, stdin)
        if result.exit_code != 0:
            last = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise BootServerFailed(f"{self._endpoint.target.name}: exit code {result.exit_code}: {last}")
        return result.stdout


def parse_event(record: dict[str, Any]) -> BootEvent:
    """Make an event from one line of bootd's journal; kinds we don't know are OTHER."""
    known = set(BootEventKind)
    kind = BootEventKind(record["event"]) if record["event"] in known else BootEventKind.OTHER
    return BootEvent(
        sequence=record["seq"],
        kind=kind,
        host=record["host"],
        attempt=record["attempt"],
        detail=record["detail"],
        client=record["client"],
    )


def _version(daemon: bytes) -> str:
    return hashlib.sha256(daemon).hexdigest()[:16]

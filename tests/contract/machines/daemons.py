"""Real daemons on loopback for the contract tests: sshd and powermand, each with a separate configuration.

What is missing is installed with apt, so that the tests need nothing but root and apt.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.machines.machine import SshTarget
from bessemer.machines.secrets import SshKeyPair
from local_kubernetes.storage import get_cache_directory, locked

START_SECONDS = 15.0


def ensure_program(program: str, package: str) -> str:
    """Find a program, installing its Debian package if it isn't there."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    found = shutil.which(program, path=path)
    if found is None:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
        subprocess.run(
            install, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )
        found = shutil.which(program, path=path)
    assert found, f"{program} is not in package {package}"
    return found


def extract_program(program: str, package: str) -> Path:
    """Find a program of a Debian package that is downloaded and not installed: its services must not start here.

    It is kept in the cache. Its libraries must be those that any machine has.
    """
    folder = get_cache_directory() / "debian" / package
    found = folder / "usr/bin" / program
    with locked(folder.with_suffix(".lock")):
        if not found.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as directory:
                download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
                if subprocess.run(download, cwd=directory, check=False, capture_output=True).returncode != 0:
                    subprocess.run(["apt-get", "update", "-qq"], check=True)
                    subprocess.run(download, cwd=directory, check=True)
                (archive,) = Path(directory).glob("*.deb")
                subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
    assert found.exists(), f"{program} is not in package {package}"
    return found


def find_free_port() -> int:
    """Find a TCP port of the loopback interface that no process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the process accepts connections."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, f"{process.args!r} has ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{process.args!r} doesn't listen on port {port}"
        time.sleep(0.05)


@contextlib.contextmanager
def run_daemon(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon in the foreground until the block ends, and wait until it listens."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment)
        try:
            wait_until_listening(port, process)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


@dataclass(frozen=True)
class Sshd:
    """A running sshd."""

    port: int
    host_key: SshKeyPair

    def target(self, name: str = "here", jump: SshTarget | None = None) -> SshTarget:
        """Return how SSH reaches it."""
        user = os.environ.get("USER", "root") if os.getuid() else "root"
        return SshTarget(name, "127.0.0.1", self.host_key.public, self.port, user, jump)


@contextlib.contextmanager
def run_sshd(directory: Path, host_key: SshKeyPair, authorized_key: str, home: Path | None = None) -> Iterator[Sshd]:
    """Run an sshd that takes one key and has one host key; with a home, shells read the start-up files there."""
    program = ensure_program("sshd", "openssh-server")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    port = find_free_port()
    (directory / "host_key").write_text(host_key.private)
    (directory / "host_key").chmod(0o600)
    (directory / "authorized_keys").write_text(authorized_key + "\n")
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": directory / "host_key",
        "AuthorizedKeysFile": directory / "authorized_keys",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "Subsystem": "sftp internal-sftp",
        "MaxStartups": "100",
        **({"SetEnv": f"HOME={home}"} if home else {}),
    }
    config = directory / "sshd_config"
    config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    with run_daemon([program, "-D", "-e", "-f", str(config)], port, directory / "sshd.log"):
        yield Sshd(port, host_key)


class PowerStrip(socketserver.ThreadingTCPServer):
    """Sixteen plugs in the dialect of powerman's vpc.dev; ``dead`` ones don't switch, a ``deaf`` strip is silent."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _PowerStripSession)
        self.plugs = dict.fromkeys(range(16), False)
        self.dead: set[int] = set()
        self.deaf = False


class _PowerStripSession(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            words = line.decode().split()
            strip = self.server
            assert isinstance(strip, PowerStrip)
            if strip.deaf or not words:
                continue
            plugs = list(strip.plugs) if words[-1] == "*" else [int(word) for word in words[1:]]
            if words[0] in ("on", "off"):
                strip.plugs.update((plug, words[0] == "on") for plug in plugs if plug not in strip.dead)
            for plug in plugs if words[0] == "stat" else []:
                self.wfile.write(f"plug {plug}: {'ON' if strip.plugs[plug] else 'OFF'}\n".encode())
            self.wfile.write(b"100 OK\n" if words[0] == "logoff" else b"100 OK\n1 vpc> ")


@contextlib.contextmanager
def run_power_strip() -> Iterator[PowerStrip]:
    """Run a power strip."""
    with PowerStrip() as strip:
        thread = threading.Thread(target=strip.serve_forever, daemon=True)
        thread.start()
        try:
            yield strip
        finally:
            strip.shutdown()
            thread.join(5)


@contextlib.contextmanager
def run_powermand(directory: Path, *strip_ports: int, device_timeout: float | None = None) -> Iterator[int]:
    """Run a powermand for nodes n0 to n15 on a power strip, n16 to n31 on the next and so on; returns its port."""
    program = ensure_program("powermand", "powerman")
    port = find_free_port()
    device = Path("/etc/powerman/vpc.dev").read_text()
    if device_timeout is not None:
        device = re.sub(r"timeout\s+[0-9.]+", f"timeout {device_timeout}", device)
    (directory / "vpc.dev").write_text(device)
    config = directory / "powerman.conf"
    config.write_text(
        f'include "{directory / "vpc.dev"}"\nlisten "127.0.0.1:{port}"\n'
        + "".join(
            f'device "d{number}" "vpc" "127.0.0.1:{strip_port}"\n'
            f'node "n[{16 * number}-{16 * number + 15}]" "d{number}"\n'
            for number, strip_port in enumerate(strip_ports)
        )
    )
    with run_daemon([program, "--foreground", "--conf", str(config)], port, directory / "powermand.log"):
        yield port

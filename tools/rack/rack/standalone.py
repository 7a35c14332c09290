"""The rack without Kubernetes, to develop what runs against it: the pod's root and namespaces, made by hand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rack.image.layers import CODE_FOLDER, Layers, build_layers, cache_directory
from rack.keys import create_key_pair
from rack.ports import BOOT_HOST_PORT, MANAGEMENT_PORT, POWERMAN_PORT
from rack.terminal import say

READY_SECONDS = 60
"""From the start of the namespaces to the boot host's SSH; 2 s on an idle machine."""
POD_SCRIPT = f"""set -e
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$STATE/upper,workdir=$STATE/work" "$STATE/root"
cd "$STATE/root"
mkdir -p proc sys dev run mnt
mount -t proc proc proc; mount -t sysfs sysfs sys; mount --rbind /dev dev; mount -t tmpfs run run
mkdir -p var/lib/rack etc/rack
mount --bind "$STATE/data" var/lib/rack
cp -r "$STATE/etc/." etc/rack/
pivot_root . mnt
umount -l /mnt
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/{CODE_FOLDER} \\
  tini -- python3 -m rack.daemon /etc/rack/rack.json
"""


@dataclass(frozen=True)
class Standalone:
    """A running rack."""

    folder: Path
    """Holds `client_key`, `known_hosts`, `rackctl` and the consoles' logs (`data/*/console.log`)."""
    address: str
    """Where this machine reaches the pod's ports."""
    process: int

    def rackctl(self, *arguments: str) -> str:
        """Run rackctl in the rack; return what it prints."""
        return subprocess.run(
            [str(self.folder / "rackctl"), *arguments], check=True, capture_output=True, text=True
        ).stdout


@contextmanager
def run_standalone(nodes: int, *, management_installed: bool = False, index: int = 1) -> Iterator[Standalone]:
    """Run a rack until the block ends.

    Args:
        nodes: compute nodes.
        management_installed: whether the management machine starts installed.
        index: from 1 to 250; racks side by side on one machine need different ones.

    """
    layers = build_layers()
    root = unpack_root(layers)
    folder = Path(tempfile.mkdtemp(prefix=f"rack{index}-", dir=cache_directory()))
    write_identity(folder, {"computeNodes": nodes, "managementInstalled": management_installed})
    shutil.copytree(layers.code, folder / "code", symlinks=True)  # others may build a newer one and clear this away
    for name in ("upper", "work", "root", "data"):
        (folder / name).mkdir()
    environment = {**os.environ, "STATE": str(folder), "LOWER": f"{folder / 'code'}:{layers.served}:{root}"}
    namespaces = [
        "--mount",
        "--net",
        "--pid",
        "--uts",
        "--ipc",
        "--fork",
        "--kill-child=SIGKILL",
        "--propagation",
        "private",
    ]
    with (folder / "log").open("wb") as log:
        launcher = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", "unshare", *namespaces, "sh", "-c", POD_SCRIPT],  # ends when we are killed
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        rack = Standalone(folder, f"10.79.{index}.2", wait_for_child(launcher, folder / "log"))
        connect(rack.process, index)
        write_helpers(rack)
        wait_until_ready(rack, launcher)
        yield rack
    finally:
        stop(launcher)
        shutil.rmtree(folder)


def find_free_index() -> int:
    """Find the number of no rack that runs on this machine."""
    taken = {link.name for link in Path("/sys/class/net").glob("rack*")}
    start = os.getpid()  # so that two that look at the same moment hardly find the same
    free = (index for number in range(250) if f"rack{(index := 1 + (start + number) % 250)}" not in taken)
    return next(free)


def unpack_root(layers: Layers) -> Path:
    """Unpack the pod's root once."""
    folder = layers.root.with_suffix(".unpacked")
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        subprocess.run(["tar", "-xf", str(layers.root), "-C", str(partial)], check=True)
        partial.rename(folder)
    return folder


def write_identity(folder: Path, settings: dict[str, object]) -> None:
    """Write the rack's settings and keys, and the client's side of the keys."""
    keys = folder / "etc" / "keys"
    keys.mkdir(parents=True)
    host, client = create_key_pair(), create_key_pair()
    files = {
        folder / "client_key": client.private,
        folder / "client_key.pub": client.public,
        keys / "ssh_host_ed25519_key": host.private,
    }
    files |= {keys / "authorized_keys": client.public + "\n", folder / "host_key.pub": host.public}
    for path, text in files.items():
        path.touch(0o600)
        path.write_text(text)
    (folder / "etc" / "rack.json").write_text(json.dumps(settings))


def write_helpers(rack: Standalone) -> None:
    """Write known_hosts and a script that runs rackctl inside."""
    host_key = (rack.folder / "host_key.pub").read_text()
    ports = (BOOT_HOST_PORT, MANAGEMENT_PORT)
    (rack.folder / "known_hosts").write_text("".join(f"[{rack.address}]:{port} {host_key}\n" for port in ports))
    program = rack.folder / "rackctl"
    program.write_text(f'#!/bin/sh\nexec nsenter -t {rack.process} -m -n -p -u -i -r -w /usr/local/bin/rackctl "$@"\n')
    program.chmod(0o755)


def wait_for_child(launcher: subprocess.Popen[bytes], log: Path) -> int:
    """Wait for process 1 of the new namespaces; return its number."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if launcher.poll() is not None:
            raise RuntimeError(f"the rack's namespaces could not be made (are you root?): {log.read_text()}")
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.02)
    raise TimeoutError("the rack's process 1 did not appear")


def connect(process: int, index: int) -> None:
    """Return the rack an address that this machine reaches, like a pod's; it has no route out."""
    link = f"rack{index}"
    subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True)
    subprocess.run(
        ["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(process)], check=True
    )
    subprocess.run(["ip", "address", "add", f"10.79.{index}.1/30", "dev", link], check=True)
    subprocess.run(["ip", "link", "set", link, "up"], check=True)
    inside = ["nsenter", "-t", str(process), "-n"]
    subprocess.run([*inside, "ip", "address", "add", f"10.79.{index}.2/30", "dev", "eth0"], check=True)
    subprocess.run([*inside, "ip", "link", "set", "eth0", "up"], check=True)


def wait_until_ready(rack: Standalone, launcher: subprocess.Popen[bytes]) -> None:
    """Wait until the boot host's SSH answers.

    Raises:
        RuntimeError: the daemon ended; its log is in the message.
        TimeoutError: it took too long.

    """
    deadline = time.monotonic() + READY_SECONDS
    pause = 0.05
    while time.monotonic() < deadline:
        if launcher.poll() is not None:
            raise RuntimeError(f"the rack ended: {(rack.folder / 'log').read_text()[-2000:]}")
        try:
            with socket.create_connection((rack.address, BOOT_HOST_PORT), timeout=5) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(pause)
        pause = min(pause * 2, 1)
    raise TimeoutError(f"the boot host's SSH did not answer in {READY_SECONDS} s; log: {rack.folder}/log")


def stop(launcher: subprocess.Popen[bytes]) -> None:
    """End the rack: killing its process 1 ends all namespaces in it."""
    if launcher.poll() is None:
        children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
    launcher.wait(timeout=READY_SECONDS)


def serve(nodes: int, *, management_installed: bool, index: int) -> None:
    """Run a rack until a signal, and say how to use it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with run_standalone(nodes, management_installed=management_installed, index=index) as rack:
        ssh = f"ssh -i {rack.folder}/client_key -o UserKnownHostsFile={rack.folder}/known_hosts"
        facts = {
            "folder": str(rack.folder),
            "boot host": f"{ssh} -p {BOOT_HOST_PORT} root@{rack.address}",
            "management": f"{ssh} -p {MANAGEMENT_PORT} root@{rack.address}",
            "powerman": f"{rack.address}:{POWERMAN_PORT}",
            "rackctl": f"{rack.folder}/rackctl",
        }
        print(json.dumps(facts, indent=1), flush=True)
        say("the rack runs until Ctrl-C")
        try:
            signal.pause()
        except KeyboardInterrupt:
            return

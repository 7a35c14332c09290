"""The Debian packages of a container engine, unpacked into a folder: not installed, so no service of them starts."""

import hashlib
import re
import shutil
from pathlib import Path

from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError, announce
from local_kubernetes.local.registry import get_engines_directory
from local_kubernetes.storage import locked

PACKAGES = {"docker": ("docker.io", "iptables"), "podman": ("podman", "netavark", "aardvark-dns", "iptables")}
FETCH_SECONDS = 600
APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")


def parse_simulation(text: str) -> list[str]:
    """Return the packages (`tini=0.19.0-1`) that `apt-get --simulate install` says it would install."""
    found = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", text, re.MULTILINE)
    return [f"{name}={version}" for name, version in found]


def fetch_packages(engine: str) -> Path:
    """Return a folder with what this machine lacks of an engine, fetched when it is not cached.

    The folder is empty where the engine is installed. Raises ClusterError without apt, or when it has no such package.
    """
    if shutil.which("apt-get") is None:
        raise ClusterError(f"{engine} is not here, and there is no apt-get to fetch it with")
    wanted = PACKAGES[engine]
    try:
        missing = simulate(wanted)
    except ClusterError:  # the lists of packages are missing or old
        run([*APT, "update"], timeout=FETCH_SECONDS)
        missing = simulate(wanted)
    digest = hashlib.sha256(" ".join(missing).encode()).hexdigest()[:12]
    folder = get_engines_directory() / f"{engine}-{digest}"
    with locked(folder.parent / "lock"):
        if not folder.is_dir():
            announce(f"fetching {engine}: {' '.join(missing) or 'it is installed'}")
            unpack(missing, folder)
    return folder


def simulate(packages: tuple[str, ...]) -> list[str]:
    """List what installing packages would add to this machine."""
    return parse_simulation(run(["apt-get", "--simulate", "--no-install-recommends", "install", *packages]))


def unpack(packages: list[str], folder: Path) -> None:
    """Download packages and unpack them into a folder: as a whole or not at all."""
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    archives = unfinished / "archives"
    archives.mkdir(parents=True)
    if packages:
        try:
            run([*APT, "download", *packages], cwd=archives, timeout=FETCH_SECONDS)
        except ClusterError:  # the lists of packages are older than what the mirror has
            run([*APT, "update"], timeout=FETCH_SECONDS)
            run([*APT, "download", *packages], cwd=archives, timeout=FETCH_SECONDS)
    for archive in archives.glob("*.deb"):
        run(["dpkg", "--extract", archive, unfinished], timeout=FETCH_SECONDS)
    shutil.rmtree(archives)
    unfinished.rename(folder)

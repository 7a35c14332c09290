"""Starts an engine in namespaces, runs commands beside it, and removes it with all that it made."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_kubernetes.binaries.packages import install_packages
from local_kubernetes.commands import run
from local_kubernetes.engine.packages import fetch_packages
from local_kubernetes.errors import ClusterError
from local_kubernetes.kind import NODE_IMAGES, get_kind_directory
from local_kubernetes.local.namespaces import create_namespaces
from local_kubernetes.local.processes import ProcessIdentity
from local_kubernetes.local.registry import (
    EngineRecord,
    apply_record,
    get_engines_directory,
    registry_locked,
    require_root,
)
from local_kubernetes.local.remains import delete_use, sweep_locked
from local_kubernetes.node_image.build import build_node_archive
from local_kubernetes.waiting import wait_until

HERE = Path(__file__).parent
START_SECONDS = 30
IMPORT_SECONDS = 300
"""For the image of kind's nodes, of 800 MB."""
IMAGE_CHANGES = (
    "ENV container=docker",
    'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]',
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)
"""Without the Dockerfile's STOPSIGNAL, which Docker 20.10 refuses here: kind removes nodes by force."""
CONTAINERS_CONF = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
"""
STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{directory}/containers"
runroot = "/run/containers/storage"
"""


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    record: EngineRecord
    process: ProcessIdentity
    """Process 1 of its namespaces."""

    def build_command(self, argv: Sequence[str | Path], folder: Path) -> list[str]:
        """Build the command that runs another one within the namespaces, in a folder."""
        enter = ["nsenter", "--target", str(self.process.pid), "--mount", "--net", "--pid", "--cgroup", "--"]
        # By a shell: nsenter's own --wd gives a folder that getcwd(3) has no name for.
        return [*enter, "sh", "-c", f'cd {shlex.quote(str(folder))} && exec "$@"', "sh", *(str(word) for word in argv)]

    def build_environment(self) -> dict[str, str]:
        """Build the variables by which a command finds the engine, and this package chooses it."""
        environment = {
            "PROVIDER": f"kind-{self.record.engine}",
            "PATH": f"/usr/sbin:/usr/bin:{os.environ.get('PATH', '/sbin:/bin')}",
        }
        if self.record.engine == "podman":
            environment["CONTAINERS_CONF"] = str(self.record.directory / "containers.conf")
            environment["CONTAINERS_STORAGE_CONF"] = str(self.record.directory / "storage.conf")
        return environment

    def run(self, argv: Sequence[str | Path], *, timeout: float = 60) -> str:
        """Run a command within the namespaces; return what it prints."""
        return run(self.build_command(argv, Path("/")), timeout=timeout, environment=self.build_environment())

    def call(self, argv: Sequence[str]) -> int:
        """Run a command with this process' terminal and folder; return its exit code."""
        environment = {**os.environ, **self.build_environment()}
        return subprocess.run(self.build_command(argv, Path.cwd()), env=environment, check=False).returncode

    def answers(self) -> bool:
        """Return whether the engine answers."""
        try:
            self.run([self.record.engine, "info"])
        except ClusterError:
            return False
        return True


@contextmanager
def run_engine(name: str, kube_minor: str) -> Iterator[Engine]:
    """Run an engine, `docker` or `podman`, with the image of kind's nodes in it, until the block ends.

    Raises ClusterError when it did not start; nothing is left of it then.
    """
    require_root()
    install_packages()
    archive = build_node_archive(kube_minor)
    packages = fetch_packages(name)
    record = create_record(name)
    try:
        with terminable():
            engine = start_engine(record, packages)
            options = [word for change in IMAGE_CHANGES for word in ("--change", change)]
            engine.run([name, "import", *options, archive, NODE_IMAGES[kube_minor]], timeout=IMPORT_SECONDS)
            yield engine
    finally:
        with registry_locked():
            delete_use(record)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block by an exception, so that what follows it is done."""

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def create_record(name: str) -> EngineRecord:
    """List a new engine, after sweeping what dead processes left."""
    creator = ProcessIdentity.get(os.getpid())
    if creator is None:
        raise ClusterError("/proc does not show our own process: is it mounted?")
    directory = get_engines_directory() / f"{name}-of-{creator.pid}"
    record = EngineRecord(name=f"{name}-of-{creator.pid}", engine=name, directory=directory, creator=creator)
    with registry_locked():
        sweep_locked()
        apply_record(record)
    return record


def start_engine(record: EngineRecord, packages: Path) -> Engine:
    """Start the namespaces and, for Docker, its daemon; wait until it answers."""
    directory = record.directory
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "log").mkdir(mode=0o700, parents=True)
    runc = directory / "runc"
    runc.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {HERE / "bounded_runc.py"} "$@"\n')
    runc.chmod(0o755)
    (directory / "containers.conf").write_text(CONTAINERS_CONF)
    (directory / "storage.conf").write_text(STORAGE_CONF.format(directory=directory))
    environment = build_init_environment(record, packages, runc)
    create_namespaces(record, HERE / "init.sh", environment)
    log, daemon = directory / "log/init.log", directory / "log/dockerd.log"

    def explain() -> str:
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in (log, daemon) if file.exists())

    wait_until(f"{record.engine}'s namespaces are ready", (directory / "ready").exists, START_SECONDS, explain)
    process = record.get_inner_process()
    if process is None:
        raise ClusterError(f"{record.engine}'s namespaces ended\n{explain()}")
    engine = Engine(record, process)
    wait_until(f"{record.engine} answers", engine.answers, START_SECONDS, explain)
    return engine


def build_init_environment(record: EngineRecord, packages: Path, runc: Path) -> Mapping[str, str]:
    """Build the variables of `init.sh`."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "ENGINE": record.engine,
        "ENGINE_DIRECTORY": str(record.directory),
        "ENGINE_PACKAGES": str(packages),
        "ENGINE_RUNC": str(runc),
        "ENGINE_CACHE": str(get_kind_directory()),
        "CGROUP": record.cgroup,
    }

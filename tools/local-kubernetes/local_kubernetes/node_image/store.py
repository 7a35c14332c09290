"""Puts images into the store of a containerd that does not run yet: that of a node's root file system."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from string import Template

from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError
from local_kubernetes.waiting import wait_until

CONFIGURATION = Template(
    """\
version = 3
root = "$root/var/lib/containerd"
state = "$work/state"
disabled_plugins = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.internal.v1.opt",
    "io.containerd.nri.v1.nri",
]
[grpc]
address = "$work/socket"
[ttrpc]
address = "$work/socket.ttrpc"
"""
)
START_SECONDS = 20
IMPORT_SECONDS = 120


def import_images(root: Path, work: Path, programs: Path, archives: Sequence[Path]) -> None:
    """Import archives into the store at `root`/var/lib/containerd.

    They are not unpacked: a snapshot made here would be of another file system than the node's.

    Args:
        root: the node's root.
        work: a folder for this, which does not exist yet.
        programs: folder of containerd's programs.
        archives: OCI archives.

    """
    work.mkdir()
    (work / "config.toml").write_text(CONFIGURATION.substitute(root=root, work=work))
    control: list[str | Path] = [programs / "ctr", "--address", work / "socket", "--namespace", "k8s.io"]
    log = work / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(programs / "containerd"), "--config", str(work / "config.toml")],
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as daemon,
    ):
        try:
            wait_until(
                "containerd answers",
                lambda: answers([*control, "version"]),
                START_SECONDS,
                lambda: log.read_text()[-2000:],
            )
            for archive in archives:
                options = ["--all-platforms", "--no-unpack", "--digests"]
                run([*control, "images", "import", *options, archive], timeout=IMPORT_SECONDS)
        finally:
            daemon.terminate()


def answers(command: Sequence[str | Path]) -> bool:
    """Return whether a command succeeds."""
    try:
        run(command)
    except ClusterError:
        return False
    return True

"""Starts a host whose root file system exists already, as process 1 of new namespaces.

`python3 -m rack.daemon.firmware.direct STATE`

The boot host is such a host: its root is the pod's own under a writable overlay.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

from .kernel import mount_devices, start
from .linux import Mount, mount


def main(state: Path) -> NoReturn:
    """Mount `STATE/upper` as an overlay over the current root, and start its init."""
    mount("none", "/", flags=Mount.REC | Mount.PRIVATE)
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    root = state / "root"
    mount("overlay", str(root), "overlay", options=f"lowerdir=/,upperdir={state / 'upper'},workdir={state / 'work'}")
    mount_devices(None, with_loop=False)
    start(str(root), "/sbin/init", "")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

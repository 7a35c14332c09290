"""runc, asked for no capability that this machine's root lacks.

Docker before 23 asks for every capability that it knows when a container is privileged, and runc refuses those outside
the bounding set (https://github.com/moby/moby/issues/42906).
"""

import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

RUNC = "/usr/sbin/runc"
NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""In the order of their numbers (linux/capability.h)."""


def parse_bounding_set(status: str) -> set[str]:
    """Return the names (`CAP_KILL`) of the bounding set in a /proc/PID/status."""
    (line,) = (line for line in status.splitlines() if line.startswith("CapBnd:"))
    bits = int(line.split()[1], 16)
    return {f"CAP_{name}" for number, name in enumerate(NAMES) if bits >> number & 1}


def find_process_file(arguments: Sequence[str]) -> tuple[Path, bool] | None:
    """Return the file that describes the process to start, and whether it describes a whole container.

    None for commands that start none.
    """
    pairs = dict(pairwise(arguments))
    if {"create", "run"} & set(arguments) and (bundle := pairs.get("--bundle") or pairs.get("-b")):
        return Path(bundle, "config.json"), True
    if "exec" in arguments and (process := pairs.get("--process") or pairs.get("-p")):
        return Path(process), False
    return None


def bound(process: dict[str, Any], bounding_set: set[str]) -> None:
    """Take what is not in the bounding set out of a process' capabilities (OCI runtime specification, config.md)."""
    capabilities = process.get("capabilities") or {}
    for kind, names in capabilities.items():
        capabilities[kind] = [name for name in names or () if name in bounding_set]


def main() -> None:
    """Change the description of the process, then become runc."""
    if found := find_process_file(sys.argv):
        file, whole = found
        document = json.loads(file.read_text())
        process = document.get("process") if whole else document
        if process:
            bound(process, parse_bounding_set(Path("/proc/self/status").read_text()))
            file.write_text(json.dumps(document))
    os.execv(RUNC, [RUNC, *sys.argv[1:]])  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    main()

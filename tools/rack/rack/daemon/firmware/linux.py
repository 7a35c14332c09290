"""The few Linux system calls that Python's standard library lacks, see mount(2), pivot_root(2) and prctl(2)."""

from __future__ import annotations

import ctypes
import os
from enum import IntFlag

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_PIVOT_ROOT = 155  # x86-64, asm/unistd_64.h
_PR_CAPBSET_DROP = 24
_MNT_DETACH = 2


class Mount(IntFlag):
    """Flags of mount(2)."""

    NONE = 0
    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    REMOUNT = 32
    BIND = 4096
    MOVE = 8192
    REC = 16384
    PRIVATE = 1 << 18


def mount(source: str, target: str, kind: str = "", flags: Mount = Mount.NONE, options: str = "") -> None:
    """Mount a file system.

    Raises:
        OSError: the kernel refused; `filename` is the target.

    """
    check(
        _libc.mount(source.encode(), target.encode(), kind.encode() or None, int(flags), options.encode() or None),
        target,
    )


def detach(target: str) -> None:
    """Unmount lazily: out of sight at once, gone with its last user."""
    check(_libc.umount2(target.encode(), _MNT_DETACH), target)


def become_root(new_root: str) -> None:
    """Make a mounted folder the root of this mount namespace and let the old root go."""
    os.chdir(new_root)
    check(_libc.syscall(_SYS_PIVOT_ROOT, b".", b"."), new_root)
    detach(".")
    os.chroot(".")
    os.chdir("/")


def drop_capability(number: int) -> None:
    """Take a capability from this process and all that it becomes or starts."""
    check(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), f"capability {number}")


def set_host_name(name: str) -> None:
    """Name this UTS namespace."""
    check(_libc.sethostname(name.encode(), len(name.encode())), name)


def check(result: int, what: str) -> None:
    """Raise the error that a C call left."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)

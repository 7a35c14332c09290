"""Disks of machines: sparse files behind loop devices that detach when the last user has closed them, see loop(4)."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

LOOP_MAJOR = 7
_CTL_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A
_CLEAR = 0x4C01
_GET_STATUS = 0x4C05
_AUTOCLEAR = 4
_INFO = struct.Struct("=5Q4I64s64s32s2Q")
"""struct loop_info64 of linux/loop.h."""
_CONFIG = struct.Struct(f"=II{_INFO.size}s64x")
"""struct loop_config."""
ATTACH_TRIES = 100
"""Other processes on this host may take the device that the kernel offered us before we do."""
RELEASE_SECONDS = 30
"""The kernel unmounts, and so writes back, the file system of a killed machine."""


@dataclass
class Disk:
    """A disk that is attached."""

    file: Path
    minor: int
    handle: int
    """Open file descriptor that keeps the device attached."""


def create_blank(file: Path, mib: int) -> None:
    """Make an empty disk."""
    file.unlink(missing_ok=True)
    with file.open("wb") as handle:
        handle.truncate(mib << 20)


def attach(file: Path) -> Disk:
    """Attach a file to a free loop device.

    Raises:
        OSError: there is no free loop device.
    """
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    backing = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(ATTACH_TRIES):
            minor = fcntl.ioctl(control, _CTL_GET_FREE)
            handle = os.open(get_node(minor), os.O_RDWR | os.O_CLOEXEC)
            info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, _AUTOCLEAR, bytes(file)[:63], b"", b"", 0, 0)
            try:
                fcntl.ioctl(handle, _CONFIGURE, _CONFIG.pack(backing, 0, info))
            except OSError as error:
                os.close(handle)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return Disk(file, minor, handle)
        raise OSError(errno.EBUSY, "no free loop device", str(file))
    finally:
        os.close(control)
        os.close(backing)


def get_node(minor: int) -> Path:
    """Return the node of a loop device, made if missing: a container's /dev has those that were there at its start."""
    path = Path(f"/dev/loop{minor}")
    if not path.exists():
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(LOOP_MAJOR, minor))
    return path


async def release(disk: Disk) -> None:
    """Wait until the disk is not mounted any more, and detach it.

    Raises:
        TimeoutError: it is still in use.

    """
    pause = 0.01
    async with asyncio.timeout(RELEASE_SECONDS):
        while is_mounted(disk):
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)
    os.close(disk.handle)


def is_mounted(disk: Disk) -> bool:
    """Return whether a file system on the disk is mounted anywhere, in whichever namespace."""
    try:
        os.close(os.open(get_node(disk.minor), os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise
    return False


def list_file_systems(process: int) -> set[int]:
    """List the device numbers of the file systems that a process has mounted."""
    try:
        lines = Path(f"/proc/{process}/mountinfo").read_text().splitlines()
    except OSError:  # it ended
        return set()
    pairs = (line.split()[2].split(":") for line in lines)
    return {os.makedev(int(major), int(minor)) for major, minor in pairs}


def detach_backed_by(file_systems: set[int]) -> None:
    """Detach loop devices whose backing file is on one of the file systems: a dead machine's, without autoclear."""
    for folder in Path("/sys/block").glob("loop*/loop"):
        number = int(folder.parent.name.removeprefix("loop"))
        handle = os.open(get_node(number), os.O_RDONLY | os.O_CLOEXEC)
        try:
            info = fcntl.ioctl(handle, _GET_STATUS, bytes(_INFO.size))
            if _INFO.unpack(info)[0] in file_systems:
                fcntl.ioctl(handle, _CLEAR)
        except OSError as error:
            if error.errno != errno.ENXIO:  # detached meanwhile
                raise
        finally:
            os.close(handle)

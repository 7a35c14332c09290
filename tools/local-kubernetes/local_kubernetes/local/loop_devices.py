"""Loop devices that pods leave attached.

A loop device belongs to no namespace, and one attached by losetup(8) without autoclear outlives the pod that attached
it. The kernel does not record who attached a device, so it is recognized by its file.
"""

import contextlib
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from local_kubernetes.commands import run
from local_kubernetes.errors import ClusterError
from local_kubernetes.waiting import wait_until

DETACH_SECONDS = 10
FileIdentity = tuple[str, int]
"""Device number of the file system (`8:1`) and inode."""


class LoopDevice(BaseModel):
    """One attached loop device, as `losetup --json` describes it: with blanks around numbers, in some releases."""

    model_config = ConfigDict(str_strip_whitespace=True)

    path: Path = Field(alias="name")
    number: str = Field(alias="maj:min")
    file_system: str = Field(alias="back-maj:min")
    """Device number of the file system that holds its file."""
    inode: int = Field(alias="back-ino")
    autoclear: bool
    """It detaches by itself when no process has it open or mounted; losetup sets this when it detaches a busy one."""
    file_is_deleted: bool = False


def decide_is_left_over(
    device: LoopDevice, files: Collection[FileIdentity], mounted: Collection[str], earlier: Collection[str]
) -> bool:
    """Return whether a loop device is what a pod of a dead cluster left.

    It is when its file is one of the cluster's `files`. It also is when it came after the first cluster (is not among
    the `earlier` ones), is `mounted` nowhere, and no process can reach its file: deleted with the pod's volume, or on a
    file system that is mounted nowhere, as a dead container's root is. One that detaches by itself is not a
    left-over.
    """
    if device.autoclear:
        return False
    if (device.file_system, device.inode) in files:
        return True
    unreachable = device.file_is_deleted or device.file_system not in mounted
    return unreachable and device.number not in mounted and device.path.name not in earlier


def list_loop_device_names() -> list[str]:
    """Return the loop devices that have a backing file (`loop0`)."""
    return [path.parent.name for path in Path("/sys/block").glob("loop*/loop")]


def list_loop_devices() -> list[LoopDevice]:
    """Return attached loop devices with their files."""
    if not list_loop_device_names():
        return []
    listing = run(["losetup", "--list", "--json", "--output", "NAME,MAJ:MIN,BACK-MAJ:MIN,BACK-INO,AUTOCLEAR"])
    devices = [LoopDevice.model_validate(entry) for entry in json.loads(listing)["loopdevices"]]
    return [device.model_copy(update={"file_is_deleted": is_file_deleted(device)}) for device in devices]


def is_file_deleted(device: LoopDevice) -> bool:
    """Return whether the backing file of a device is deleted, which the kernel shows in sysfs."""
    try:
        return Path("/sys/block", device.path.name, "loop/backing_file").read_text().endswith(" (deleted)\n")
    except FileNotFoundError:  # detached meanwhile
        return False


def list_files(directory: Path) -> Iterator[FileIdentity]:
    """List the files below a folder."""
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield identify(path)


def identify(file: Path) -> FileIdentity:
    """Return the identity of a file as used in the list of loop devices."""
    status = file.stat()
    return f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}", status.st_ino


def list_mounted_devices() -> set[str]:
    """Return the device numbers of everything mounted in any mount namespace of the machine."""
    devices: set[str] = set()
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):  # the process ended meanwhile
            devices.update(line.split()[2] for line in mounts.read_text().splitlines())
    return devices


def delete_loop_devices(directory: Path, earlier: Collection[str]) -> None:
    """Detach the loop devices that a dead cluster's pods left; `directory` is the cluster's."""

    def is_done() -> bool:
        devices = list_loop_devices()
        if not devices:
            return True
        files, mounted = set(list_files(directory)), list_mounted_devices()
        left_over = [device for device in devices if decide_is_left_over(device, files, mounted, earlier)]
        for device in left_over:
            with contextlib.suppress(ClusterError):  # gone by itself, or busy: the next round sees which
                run(["losetup", "--detach", device.path])
        return not left_over

    wait_until("the loop devices of the cluster's pods are detached", is_done, DETACH_SECONDS)

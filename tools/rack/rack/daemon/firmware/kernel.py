"""Simulates the kernel's start: devices, /proc, /sys and the command line, then process 1 of the booted system."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from typing import NoReturn

from .linux import Mount, become_root, drop_capability, mount, set_host_name

LOOP_MAJOR = 7
DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "fuse": (10, 229),
}
LOOP_CONTROL = (10, 237)
LOOP_NODES = 256
"""Maximum number of disks in files that machines on one host can have mounted; all share the numbers."""
CGROUP_V1 = ("freezer", "memory", "cpuset", "devices", "cpu,cpuacct")
"""Hierarchies that slurmd needs if the host has cgroup version 1."""
PROTECTED = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus")
"""Belongs to the host, whose kernel the machine shares; the machine may only read it."""
SHARED_WITH_HOST = {"CAP_SYS_MODULE": 16, "CAP_SYS_RAWIO": 17, "CAP_SYS_TIME": 25}
"""Capabilities that would let a machine affect the host's kernel or clock, from linux/capability.h."""


def mount_devices(disk_minor: int | None, with_loop: bool) -> None:
    """Lay a /dev of the machine's own over the one of the pod: usual devices, the console, the disk as `sda`."""
    staging = "/mnt"
    mount("dev", staging, "tmpfs", Mount.NOSUID, "mode=0755")
    for name, (major, minor) in DEVICES.items():
        create_device(f"{staging}/{name}", stat.S_IFCHR | 0o666, major, minor)
    if with_loop:
        create_device(f"{staging}/loop-control", stat.S_IFCHR | 0o600, *LOOP_CONTROL)
        for number in range(LOOP_NODES):
            create_device(f"{staging}/loop{number}", stat.S_IFBLK | 0o600, LOOP_MAJOR, number)
    if disk_minor is not None:
        create_device(f"{staging}/sda", stat.S_IFBLK | 0o600, LOOP_MAJOR, disk_minor)
    for folder in ("pts", "shm"):
        Path(staging, folder).mkdir()
    mount(
        "devpts", f"{staging}/pts", "devpts", Mount.NOSUID | Mount.NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"
    )
    Path(staging, "ptmx").symlink_to("pts/ptmx")
    for name, target in {
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
    }.items():
        Path(staging, name).symlink_to(target)
    Path(staging, "console").touch(0o600)
    mount(os.readlink("/proc/self/fd/0"), f"{staging}/console", flags=Mount.BIND)
    mount(staging, "/dev", flags=Mount.MOVE)


def create_device(path: str, mode: int, major: int, minor: int) -> None:
    """Make a device node with exactly the given mode."""
    os.mknod(path, mode, os.makedev(major, minor))
    Path(path).chmod(stat.S_IMODE(mode))


def start(root: str, program: str, command_line: str) -> NoReturn:
    """Make a mounted folder the machine's root and execute its process 1 with the kernel's usual environment."""
    set_host_name("(none)")
    for folder in ("proc", "sys", "dev", "run"):
        Path(root, folder).mkdir(exist_ok=True)
    mount("/dev", f"{root}/dev", flags=Mount.MOVE)
    mount("proc", f"{root}/proc", "proc", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)
    mount("sysfs", f"{root}/sys", "sysfs", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)
    mount_cgroups(f"{root}/sys/fs/cgroup")
    become_root(root)
    protect_host()
    set_command_line(command_line)
    for capability in SHARED_WITH_HOST.values():
        drop_capability(capability)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # Python ignores or handles these
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    os.execve(program, [program], {"HOME": "/", "TERM": "linux", "PATH": "/sbin:/usr/sbin:/bin:/usr/bin"})  # noqa: S606 - becomes process 1


def mount_cgroups(target: str) -> None:
    """Mount control groups the way the host has them; in its own namespace the machine sees only its own."""
    if Path("/proc/self/cgroup").read_text().startswith("0::"):  # no hierarchy of version 1 before it
        mount("cgroup2", target, "cgroup2")
        return
    mount("cgroup", target, "tmpfs", options="mode=0755")
    for controllers in CGROUP_V1:
        folder = Path(target, controllers)
        folder.mkdir()
        try:
            mount("cgroup", str(folder), "cgroup", options=controllers)
        except OSError:  # mounted by the host in another combination, or not built in
            folder.rmdir()


def protect_host() -> None:
    """Make the host's settings read-only, except those of this machine's network."""
    for path in PROTECTED:
        if Path(path).exists():
            mount(path, path, flags=Mount.BIND)
            mount("", path, flags=Mount.BIND | Mount.REMOUNT | Mount.RDONLY)
    mount("/proc/sys/net", "/proc/sys/net", flags=Mount.BIND)
    mount("", "/proc/sys/net", flags=Mount.BIND | Mount.REMOUNT)


def set_command_line(text: str) -> None:
    """Let /proc/cmdline show the boot loader's command line."""
    path = Path("/dev/.cmdline")
    path.write_text(text + "\n")
    path.chmod(0o444)
    mount(str(path), "/proc/cmdline", flags=Mount.BIND)
    path.unlink()

"""Unpacks initramfs archives as the kernel does: several may be concatenated, each compressed or not.

The format is described in the kernel's documentation, driver-api/early-userspace/buffer-format.rst ("newc" cpio).
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import zlib
from pathlib import Path

from .pxe import BootError

MAGICS = (b"070701", b"070702")
HEADER = 110
FIELDS = (
    "ino",
    "mode",
    "uid",
    "gid",
    "nlink",
    "mtime",
    "filesize",
    "major",
    "minor",
    "rmajor",
    "rminor",
    "namesize",
    "check",
)


def check_kernel(path: Path) -> None:
    """Refuse a file without the magic of the boot protocol (Documentation/arch/x86/boot.rst).

    Raises:
        BootError: the file is no bzImage.
    """
    with path.open("rb") as file:
        if file.read(0x206)[0x202:] != b"HdrS":
            raise BootError(f"{path.name} is not a Linux kernel (no HdrS at 0x202)")


def unpack(archives: list[bytes], root: Path) -> None:
    """Unpack archives over each other into a folder.

    Raises:
        BootError: an archive is damaged or of an unknown kind.

    """
    data = b"".join(archive + b"\0" * (-len(archive) % 4) for archive in archives)
    while data := data.lstrip(b"\0"):
        data = unpack_cpio(data, root) if data[:6] in MAGICS else unpack_compressed(data, root)


def unpack_compressed(data: bytes, root: Path) -> bytes:
    """Unpack one compressed stream; return what follows it."""
    try:
        if data[:2] == b"\x1f\x8b":
            gzip = zlib.decompressobj(wbits=31)
            inner, rest = gzip.decompress(data) + gzip.flush(), gzip.unused_data
        elif data[:6] == b"\xfd7zXZ\0" or data[:3] == b"\x5d\0\0":
            xz = lzma.LZMADecompressor()
            inner, rest = xz.decompress(data), xz.unused_data
        elif data[:3] == b"BZh":
            bzip = bz2.BZ2Decompressor()
            inner, rest = bzip.decompress(data), bzip.unused_data
        else:
            raise BootError(f"initramfs: unknown compression {data[:6]!r} (gzip, xz, lzma, bzip2 or plain cpio)")
    except (zlib.error, lzma.LZMAError, OSError) as error:
        raise BootError(f"initramfs: damaged: {error}") from error
    unpack([inner], root)
    return rest


def unpack_cpio(data: bytes, root: Path) -> bytes:
    """Unpack one cpio archive; return what follows its trailer."""
    links: dict[tuple[int, int, int], Path] = {}
    position = 0
    while True:
        if data[position : position + 6] not in MAGICS:
            raise BootError(f"initramfs: damaged cpio header at byte {position}")
        numbers = (int(data[position + 6 + 8 * index : position + 14 + 8 * index], 16) for index in range(len(FIELDS)))
        head = dict(zip(FIELDS, numbers, strict=True))
        name = data[position + HEADER : position + HEADER + head["namesize"] - 1].decode(errors="surrogateescape")
        start = align(position + HEADER + head["namesize"])
        position = align(start + head["filesize"])
        if name == "TRAILER!!!":
            return data[position:]
        if position > len(data) + 3:
            raise BootError(f"initramfs: cut short in {name}")
        path = root / name.lstrip("/")
        key = (head["major"], head["minor"], head["ino"])
        content = data[start : start + head["filesize"]]
        if stat.S_ISREG(head["mode"]) and head["nlink"] > 1 and key in links:
            path.unlink(missing_ok=True)
            os.link(links[key], path)
            if content:  # the content comes with the last of the names
                path.write_bytes(content)
            continue
        links[key] = path
        create_entry(path, head, content)


def create_entry(path: Path, head: dict[str, int], content: bytes) -> None:
    """Make one file, folder, link or device."""
    mode = head["mode"]
    if stat.S_ISDIR(mode):
        path.mkdir(exist_ok=True)
    else:
        path.unlink(missing_ok=True)
        if stat.S_ISREG(mode):
            path.write_bytes(content)
        elif stat.S_ISLNK(mode):
            path.symlink_to(content.decode(errors="surrogateescape"))
        else:
            os.mknod(path, mode, os.makedev(head["rmajor"], head["rminor"]))
    os.chown(path, head["uid"], head["gid"], follow_symlinks=False)
    if not stat.S_ISLNK(mode):
        path.chmod(stat.S_IMODE(mode))


def align(position: int) -> int:
    """Round up to the four bytes that cpio aligns to."""
    return (position + 3) & ~3

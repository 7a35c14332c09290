"""The rack's reading of initramfs archives, against archives that cpio's format describes byte by byte."""

import gzip
import lzma
import os
import stat
from pathlib import Path

import pytest

from rack.daemon.firmware.initramfs import check_kernel, unpack
from rack.daemon.firmware.pxe import BootError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="file owners are set, which takes root")


def build_entry(name: str, mode: int, content: bytes = b"", links: int = 1, inode: int = 0) -> bytes:
    numbers = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
    head += b"\0" * (-len(head) % 4)
    return head + content + b"\0" * (-len(content) % 4)


def build_archive(*entries: bytes) -> bytes:
    return b"".join(entries) + build_entry("TRAILER!!!", 0)


INIT = build_entry("init", stat.S_IFREG | 0o755, b"#!/bin/sh\n")


def test_files_folders_and_links_keep_their_modes(tmp_path: Path) -> None:
    folder, link = build_entry("etc", stat.S_IFDIR | 0o711), build_entry("bin", stat.S_IFLNK | 0o777, b"etc")
    unpack([build_archive(folder, link, INIT)], tmp_path)
    assert stat.S_IMODE((tmp_path / "init").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "etc").stat().st_mode) == 0o711
    assert (tmp_path / "bin").readlink() == Path("etc")


def test_hard_links_share_their_content(tmp_path: Path) -> None:
    first = build_entry("one", stat.S_IFREG | 0o644, links=2, inode=7)
    second = build_entry("two", stat.S_IFREG | 0o644, b"shared", links=2, inode=7)
    unpack([build_archive(first, second)], tmp_path)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == b"shared"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
def test_archives_may_follow_each_other_compressed_or_not(tmp_path: Path, compress: type[bytes]) -> None:
    more = build_archive(build_entry("more", stat.S_IFREG | 0o644, b"x" * 1000))
    unpack([build_archive(INIT), compress(more)], tmp_path)
    assert (tmp_path / "init").exists()
    assert (tmp_path / "more").stat().st_size == 1000


def test_damaged_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="damaged"):
        unpack([gzip.compress(build_archive(INIT))[:-20] + b"\1" * 20], tmp_path)
    with pytest.raises(BootError, match="unknown compression"):
        unpack([b"\x28\xb5\x2f\xfd zstandard"], tmp_path)


def test_only_a_linux_kernel_is_started(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"\0" * 0x202 + b"HdrS")
    check_kernel(kernel)
    kernel.write_bytes(b"<html>404</html>")
    with pytest.raises(BootError, match="not a Linux kernel"):
        check_kernel(kernel)

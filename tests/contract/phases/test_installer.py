"""The installer's initial RAM disk, built from Debian's packages; the rack's tests boot it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bessemer.phases.netboot.installer.build import SOURCES, build_installer
from tests.contract.phases.daemons import ensure_program


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for program, package in (("cpio", "cpio"), ("busybox", "busybox-static"), ("mke2fs", "e2fsprogs")):
        ensure_program(program, package)
    directory = tmp_path_factory.mktemp("installer")
    build_installer(directory / "out/installer.cpio.gz")
    (directory / "root").mkdir()
    unpack = "gzip -dc out/installer.cpio.gz | cpio --extract --quiet --no-absolute-filenames --directory root"
    subprocess.run(["sh", "-c", unpack], cwd=directory, check=True)
    return directory / "root"


def test_it_has_a_kernels_first_program_and_all_that_its_script_calls(root: Path) -> None:
    assert (root / "init").stat().st_mode & 0o111
    for program in (
        "udhcpc",
        "wget",
        "nc",
        "wc",
        "tar",
        "mount",
        "switch_root",
        "reboot",
        "timeout",
        "ip",
        "sed",
        "od",
    ):
        assert (root / "bin" / program).is_symlink(), program


def test_its_mke2fs_runs_with_nothing_but_what_is_in_it(root: Path, tmp_path: Path) -> None:
    image = root / "tmp/disk"
    with image.open("wb") as disk:
        disk.truncate(16 << 20)
    make = ["chroot", str(root), "/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "/tmp/disk"]
    subprocess.run(make, check=True)
    shown = subprocess.run(["dumpe2fs", "-h", str(image)], capture_output=True, text=True, check=True).stdout
    assert "has_journal" in shown
    assert "extent" in shown


def test_its_scripts_have_no_mistake_that_shellcheck_knows() -> None:
    program = ensure_program("shellcheck", "shellcheck")
    subprocess.run([program, "--shell=sh", str(SOURCES / "init")], check=True)
    subprocess.run([program, "--shell=sh", "--exclude=SC2154", str(SOURCES / "udhcpc")], check=True)

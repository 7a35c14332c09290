"""The parts of building the installer that need nothing installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bessemer.machines.netboot.installer import build

LDD = """\
\tlinux-vdso.so.1 (0x00007f2f75f37000)
\tlibext2fs.so.2 => /lib/x86_64-linux-gnu/libext2fs.so.2 (0x00007f2f75e97000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2f75c41000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f2f75f39000)
"""


def test_libraries_are_the_files_that_ldd_names() -> None:
    assert build.parse_libraries(LDD) == [
        "/lib/x86_64-linux-gnu/libext2fs.so.2",
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib64/ld-linux-x86-64.so.2",
    ]
    assert build.parse_libraries("\tstatically linked\n") == []


def test_a_missing_program_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(build.BuildError, match="install the package busybox-static"):
        build.build_installer(tmp_path / "installer.cpio.gz")


def test_a_busybox_that_is_not_static_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_find", lambda program, _: f"/bin/{program}")
    monkeypatch.setattr(build, "_run", lambda *_, **__: LDD)
    with pytest.raises(build.BuildError, match="not static"):
        build.build_installer(tmp_path / "installer.cpio.gz")

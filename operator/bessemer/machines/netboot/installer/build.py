"""Makes the installer's initial RAM disk from Debian's static busybox, mke2fs, tar, gzip, wipefs and nc.

Busybox's tar leaves out extended attributes, reads big numbers wrongly and sparse files not at all, without an error;
its nc can't be told its port.

Run as ``python -m bessemer.machines.netboot.installer.build OUTPUT``. Needs the packages busybox-static, e2fsprogs,
tar, gzip, util-linux, netcat-openbsd and cpio. No kernel modules are in it: a site whose kernel needs some names an
separate initrd in the spec.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
DIRECTORIES = ("bin", "dev", "etc", "lib", "proc", "run", "sbin", "sys", "target", "tmp", "usr/share/installer")
PROGRAMS = {
    "mke2fs": "e2fsprogs",
    "tar": "tar",
    "gzip": "gzip",
    "wipefs": "util-linux",
    "nc.openbsd": "netcat-openbsd",
}
"""What is taken from the system, with its libraries, instead of busybox's own: programs and their packages."""
MKE2FS_CONFIGURATION = Path("/etc/mke2fs.conf")


class BuildError(Exception):
    """The installer can't be built; says what is missing."""


def build_installer(output: Path) -> None:
    """Build the initial RAM disk, a gzipped cpio archive.

    Args:
        output: file to write; its directory is made if it is missing.

    Raises:
        BuildError: a program or a library is missing.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        for directory in DIRECTORIES:
            (root / directory).mkdir(parents=True)
        _copy_busybox(root)
        for program, package in PROGRAMS.items():
            _copy_program(root, _find(program, package))
        if not MKE2FS_CONFIGURATION.exists():
            raise BuildError(f"{MKE2FS_CONFIGURATION} is missing: install the package e2fsprogs")
        _copy(MKE2FS_CONFIGURATION, root / "etc/mke2fs.conf", 0o644)
        _copy(SOURCES / "init", root / "init", 0o755)
        _copy(SOURCES / "udhcpc", root / "usr/share/installer/udhcpc", 0o755)
        for library in ("calls", "disk"):
            _copy(SOURCES / library, root / "usr/share/installer" / library, 0o644)
        archive = _pack(root)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(gzip.compress(archive, compresslevel=9, mtime=0))


def parse_libraries(ldd_output: str) -> list[str]:
    """List the files that ``ldd`` says a program loads."""
    return re.findall(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", ldd_output, re.MULTILINE)


def _copy_busybox(root: Path) -> None:
    busybox = _find("busybox", "busybox-static")
    if parse_libraries(_run(["ldd", busybox], check=False)):
        raise BuildError(f"{busybox} is not static: install the package busybox-static")
    _copy(Path(busybox), root / "bin/busybox", 0o755)
    for applet in _run([busybox, "--list"]).split():
        link = root / "bin" / applet
        if not link.exists() and applet not in PROGRAMS:
            link.symlink_to("busybox")


def _copy_program(root: Path, program: str) -> None:
    """Copy a program to /sbin, with the libraries that it loads."""
    _copy(Path(program), root / "sbin" / Path(program).name, 0o755)
    for library in parse_libraries(_run(["ldd", program])):
        _copy(Path(library), root / library.lstrip("/"), 0o755)


def _pack(root: Path) -> bytes:
    """Pack a directory in the format that Linux unpacks.

    Source: https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
    """
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    command = [_find("cpio", "cpio"), "--create", "--format=newc", "--owner=0:0", "--quiet", "--reproducible"]
    return subprocess.run(command, cwd=root, input="\n".join(names).encode(), stdout=subprocess.PIPE, check=True).stdout


def _find(program: str, package: str) -> str:
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise BuildError(f"{program} is missing: install the package {package}")
    return found


def _copy(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _run(command: list[str], check: bool = True) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=check, text=True).stdout


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bessemer.machines.netboot.installer.build OUTPUT")
    try:
        build_installer(Path(sys.argv[1]))
    except BuildError as error:
        sys.exit(str(error))

"""The installer's initial RAM disk, built from Debian's packages; the rack's tests boot it."""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bessemer.machines.netboot import bootd
from bessemer.machines.netboot.installer.build import PROGRAMS, SOURCES, build_installer
from tests.component.machines.boot_daemon import TOKEN, Daemon
from tests.contract.machines.daemons import ensure_program


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for program, package in (("cpio", "cpio"), ("busybox", "busybox-static"), *PROGRAMS.items()):
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
        "wc",
        "blockdev",
        "dd",
        "hwclock",
        "mount",
        "switch_root",
        "reboot",
        "timeout",
        "ip",
        "sed",
        "od",
    ):
        assert (root / "bin" / program).is_symlink(), program
    for program in PROGRAMS:
        assert (root / "sbin" / program).is_file(), program


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
    check = [program, "--shell=sh", "--external-sources", f"--source-path={SOURCES}"]
    subprocess.run([*check, *(str(SOURCES / name) for name in ("init", "calls", "disk"))], check=True)
    subprocess.run([program, "--shell=sh", "--exclude=SC2154", str(SOURCES / "udhcpc")], check=True)


PREPARE = """
LOG=/run/installer.log TARGET=/target IMAGE={image} DISK={disk}
say() {{ echo "installer: $*" >>"$LOG"; }}
fail() {{ say "error: $*"; cat "$LOG"; exit 1; }}
: >"$LOG"; rm -f "$WRONG"
"""


@dataclass
class Installer:
    """The installer's root, in which its own functions are run as they are on a machine."""

    root: Path
    served: Path
    url: str

    def run(self, command: str, image: str = "", disk: str = "") -> tuple[int, str]:
        script = (
            ". /usr/share/installer/calls; . /usr/share/installer/disk\n"
            + PREPARE.format(image=image, disk=disk)
            + command
        )
        shell = ["chroot", str(self.root), "/bin/busybox", "sh", "-u", "-c", script]
        done = subprocess.run(shell, capture_output=True, text=True, check=False, env={"PATH": "/bin:/sbin"})
        return done.returncode, done.stdout + done.stderr

    def unpack(self, name: str) -> tuple[int, str]:
        subprocess.run(["rm", "-rf", str(self.target)], check=True)
        self.target.mkdir()
        return self.run("unpack_image", f"{self.url}/{name}")

    @property
    def target(self) -> Path:
        return self.root / "target"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without logging; those named here are cut off and have no Content-Length."""

    def log_message(self, *_: Any) -> None:
        pass

    def send_header(self, keyword: str, value: str) -> None:
        if not (keyword == "Content-Length" and "unknown-length" in self.path):
            super().send_header(keyword, value)


@pytest.fixture
def installer(root: Path, tmp_path: Path) -> Iterator[Installer]:
    served = tmp_path / "served"
    served.mkdir()
    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(root / "run")], check=True)
        if not (root / "dev/null").exists():
            subprocess.run(["mount", "--bind", "/dev", str(root / "dev")], check=True)
        try:
            yield Installer(root, served, f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            subprocess.run(["umount", "--lazy", str(root / "run"), str(root / "dev")], check=True)
            server.shutdown()


CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep
LONG = "/".join(["d" * 100] * 3) + "/" + "f" * 120


def make_tree(root: Path) -> Path:
    """Make the files that archives lose: all kinds, with what belongs to them."""
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/ping").write_bytes(b"ping")
    os.setxattr(root / "usr/bin/ping", "security.capability", CAPABILITY)
    (root / "owned").write_bytes(b"of a user with a big number")
    os.chown(root / "owned", 4_000_000, 4_000_001)
    with (root / "sparse").open("wb") as sparse:
        sparse.truncate(8 << 20)
        sparse.seek(4 << 20)
        sparse.write(b"in the middle")
    (root / LONG).parent.mkdir(parents=True)
    (root / LONG).write_bytes(b"long")
    (root / "n\u00e4me").write_bytes(b"letters")
    (root / "absolute").symlink_to("/usr/bin/ping")
    os.link(root / "usr/bin/ping", root / "hard")
    (root / "set").write_bytes(b"")
    (root / "set").chmod(0o4755)
    os.mkfifo(root / "fifo", 0o640)
    return root


def check_tree(root: Path) -> None:
    assert os.getxattr(root / "usr/bin/ping", "security.capability") == CAPABILITY
    owned = (root / "owned").stat()
    assert (owned.st_uid, owned.st_gid) == (4_000_000, 4_000_001)
    sparse = root / "sparse"
    assert (sparse.stat().st_size, sparse.read_bytes().strip(b"\0")) == (8 << 20, b"in the middle")
    assert (root / LONG).read_bytes() == b"long"
    assert (root / "n\u00e4me").read_bytes() == b"letters"
    assert os.readlink(root / "absolute") == "/usr/bin/ping"
    assert (root / "hard").stat().st_ino == (root / "usr/bin/ping").stat().st_ino
    assert (root / "set").stat().st_mode & 0o7777 == 0o4755
    assert (root / "fifo").is_fifo()


PACKINGS = {
    "pax.tar": ["--format=pax", "--xattrs", "--xattrs-include=*"],
    "pax-sparse.tar": ["--format=pax", "--sparse", "--xattrs", "--xattrs-include=*", "--acls"],
    "pax-sparse.tar.gz": ["--format=pax", "--sparse", "--xattrs", "--xattrs-include=*", "-z"],
    "big-blocks.tgz": ["--format=pax", "--xattrs", "--xattrs-include=*", "-b", "512", "-z"],
}


@pytest.mark.parametrize("name", PACKINGS)
def test_an_archive_is_unpacked_with_all_that_is_in_it(installer: Installer, tmp_path: Path, name: str) -> None:
    tree = make_tree(tmp_path / "tree")
    pack = ["tar", "-c", *PACKINGS[name], "-f", str(installer.served / name), "-C", str(tree), "."]
    subprocess.run(pack, check=True)
    code, words = installer.unpack(name)
    assert code == 0, words
    check_tree(installer.target)


@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=gnu", "--sparse"], ["--format=pax"]])
def test_formats_without_attributes_lose_nothing_else(installer: Installer, tmp_path: Path, options: list[str]) -> None:
    tree = make_tree(tmp_path / "tree")
    os.removexattr(tree / "usr/bin/ping", "security.capability")
    subprocess.run(["tar", "-c", *options, "-f", str(installer.served / "a.tar"), "-C", str(tree), "."], check=True)
    code, words = installer.unpack("a.tar")
    assert code == 0, words
    os.setxattr(installer.target / "usr/bin/ping", "security.capability", CAPABILITY)
    check_tree(installer.target)


def make_archive(files: int = 40, headers: dict[str, str] | None = None) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(files):
            member = tarfile.TarInfo(f"file-{number}")
            member.size, member.pax_headers = 512, headers or {"comment": "x"}
            archive.addfile(member, io.BytesIO(os.urandom(512)))
    return packed.getvalue()


def end_short(archive: bytes) -> bytes:
    """Return an archive that ends with two empty blocks, as some programs write it."""
    content = archive.rstrip(b"\0")
    return content + bytes(-len(content) % 512 + 1024)


ARCHIVE = make_archive()
SOUND: dict[str, Callable[[], bytes]] = {
    "zeros-after-it.tar.gz": lambda: gzip.compress(ARCHIVE) + bytes(100_000),
    "zeros-within-it.tar.gz": lambda: gzip.compress(ARCHIVE + bytes(1 << 20)),
    "two-streams.tar.gz": lambda: gzip.compress(ARCHIVE[:5000]) + gzip.compress(ARCHIVE[5000:]),
    "unknown-length.tar.gz": lambda: gzip.compress(ARCHIVE),
    "one-behind-the-other.tar": lambda: make_archive(30) + make_archive(40),
    "one-behind-the-other.tar.gz": lambda: gzip.compress(end_short(make_archive(30)) + make_archive(40)),
    "least-end.tar": lambda: end_short(ARCHIVE),
}
BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "half.tar.gz": (lambda: gzip.compress(ARCHIVE)[:-5000], "damaged, cut off or not in gzip format"),
    "half.tar": (lambda: ARCHIVE[: 512 * 15 + 100], "cannot unpack"),
    "unknown-length-cut-between-files.tar": (lambda: ARCHIVE[: 2048 * 10], "it is cut off"),
    "cut-inside.tar.gz": (lambda: gzip.compress(ARCHIVE[: 2048 * 10]), "it is cut off"),
    "second-cut-between-files.tar.gz": (lambda: gzip.compress(ARCHIVE + ARCHIVE[: 2048 * 10]), "it is cut off"),
    "garbage-behind-the-end.tar": (lambda: ARCHIVE + os.urandom(10240), "cannot unpack"),
    "page.tar.gz": (lambda: b"<html>Please log in</html>", "damaged, cut off or not in gzip format"),
    "page.tar": (lambda: b"<html>Please log in</html>", "cannot unpack"),
    "empty.tar": (lambda: b"", "cannot unpack"),
    "empty.tar.gz": (lambda: b"", "cannot unpack"),
    "attribute.tar": (lambda: make_archive(2, {"SCHILY.xattr.bogus.name": "x"}), "something was not kept"),
    "garbage-after-it.tar.gz": (lambda: gzip.compress(ARCHIVE) + b"garbage", "damaged"),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_archive_is_accepted(installer: Installer, name: str) -> None:
    (installer.served / name).write_bytes(SOUND[name]())
    code, words = installer.unpack(name)
    assert code == 0, words
    assert len(list(installer.target.iterdir())) == 40


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_archive_is_an_error_that_says_what_is_wrong(installer: Installer, name: str) -> None:
    content, words = BROKEN[name]
    (installer.served / name).write_bytes(content())
    code, said = installer.unpack(name)
    error = said.split("installer: error: ")[1].splitlines()[0]
    assert code == 1
    assert words in error
    assert "cannot fetch" not in error


def test_a_disk_that_is_too_small_is_an_error_at_once(installer: Installer, tmp_path: Path) -> None:
    (installer.served / "large.tar.gz").write_bytes(gzip.compress(make_archive(4000), 1))
    disk = make_disk(tmp_path / "disk", 8)
    try:
        commands = (
            'make_file_system; rm -rf "$TARGET"; mkdir "$TARGET"; mount -t ext4 "$DISK" "$TARGET"; '
            'head -c 7000000 /dev/zero >"$TARGET/full" 2>/dev/null; unpack_image'
        )
        code, words = installer.run(commands, f"{installer.url}/large.tar.gz", disk)
        assert (code, "error: cannot unpack" in words, "No space left" in words) == (1, True, True)
        assert len(words.splitlines()) < 40
    finally:
        subprocess.run(["umount", str(installer.target)], check=True)
        subprocess.run(["losetup", "--detach", disk], check=True)


def test_an_archive_that_cannot_be_fetched_is_told_apart(installer: Installer) -> None:
    code, words = installer.unpack("missing.tar.gz")
    assert code == 1
    assert f"error: cannot fetch {installer.url}/missing.tar.gz" in words
    assert "404" in words


def make_disk(path: Path, mib: int) -> str:
    with path.open("wb") as disk:
        disk.truncate(mib << 20)
    loop = subprocess.run(["losetup", "--find", "--show", str(path)], check=True, stdout=subprocess.PIPE, text=True)
    return loop.stdout.strip()


ZFS_UBERBLOCK = (0x00BAB10C).to_bytes(8, "little")


@pytest.mark.parametrize("mib", [8, 100])
def test_nothing_of_what_was_on_a_disk_is_found_after_the_file_system_is_made(
    installer: Installer, tmp_path: Path, mib: int
) -> None:
    """ZFS labels, of which two are at the end, LVM, a RAID member (version 1.0 ends the disk) and GPT with its copy."""
    image = tmp_path / "disk"
    disk = make_disk(image, mib)
    try:
        with open(disk, "r+b") as raw:
            for label in (0, 256 << 10, (mib << 20) - (512 << 10), (mib << 20) - (256 << 10)):
                for slot in range(128):
                    raw.seek(label + (128 << 10) + slot * 1024)
                    raw.write(ZFS_UBERBLOCK + (5000).to_bytes(8, "little") + bytes(1000))
            raw.seek(512)
            raw.write(b"LABELONE" + bytes(16) + b"LVM2 001")
            raw.seek((mib << 20) - 512)
            raw.write(b"EFI PART")
            raw.seek((mib << 20) - 8192)
            raw.write((0xA92B4EFC).to_bytes(4, "little"))
        code, words = installer.run("make_file_system", disk=disk)
        assert code == 0, words
        found = subprocess.run(["blkid", "-p", "-o", "export", disk], capture_output=True, text=True, check=True).stdout
        assert "LABEL=root" in found
        assert "TYPE=ext4" in found
        with open(disk, "rb") as raw:
            raw.seek((mib << 20) - (256 << 10))
            end = raw.read()
        assert ZFS_UBERBLOCK not in end
        assert b"EFI PART" not in end
    finally:
        subprocess.run(["losetup", "--detach", disk], check=True)


DATES = {
    "Wed, 01 Jan 2031 10:00:00 GMT": ["-u -s @1925028000"],
    "Thu, 01 Jan 1970 00:00:10 GMT": [],
    "Wed, 01 Jan 2200 00:00:00 GMT": [],
    "yesterday; reboot": [],
    "": [],
}


@pytest.mark.parametrize("text", DATES)
def test_the_clock_is_set_by_a_date_that_can_be_true(installer: Installer, text: str) -> None:
    spy = (
        'date() { case "$*" in *-s*) echo "$*" >>/run/set ;; +%s) echo 100 ;; *) busybox date "$@" ;; esac; }\n'
        "hwclock() { :; }\n"
    )
    code, words = installer.run(f"{spy} : >/run/set; set_clock '{text}'; cat /run/set")
    assert (code, words.split("\n")[:-1]) == (0, DATES[text])


def test_it_calls_the_boot_server_from_a_port_that_takes_root(installer: Installer, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", bootd.Store(str(tmp_path / "state")), root_ports=1024)
    daemon.start()
    try:
        daemon.stage()
        assert daemon.post(f"/node/{TOKEN}/started")[0] == 403
        commands = (
            f"NODE={daemon.url}/node/{TOKEN}; call_back started && ask GET config /dev/null >/run/config.tar && "
            'tar -t -f /run/config.tar; echo tail >/run/tail; call_back finished /run/tail; cat "$DATE"'
        )
        code, words = installer.run(commands)
        assert code == 0, words
        assert words.splitlines()[:2] == ["install.conf", "root/etc/ssh/key"]
        assert words.rstrip().endswith(" GMT")
        kinds = [
            (found["event"], found["detail"]) for found in daemon.store.journal.read() if found["event"] != "refused"
        ]
        assert kinds == [("staged", ""), ("started", ""), ("config", ""), ("finished", "tail\n")]
    finally:
        daemon.stop()

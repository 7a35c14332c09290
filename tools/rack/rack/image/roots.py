"""Makes root file systems and the package mirror from Debian packages, cached by what they are made from."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from local_kubernetes.binaries.packages import debian_mirror
from rack.image import recipe
from rack.image.recipe import Root
from rack.terminal import say

BUILD_SECONDS = 1800
"""The longest one root may take: bound by the package mirror, not by the machine."""
UNWANTED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/lintian/*")
CLEAN = (
    # The installer writes a machine's identity; an image that contained one would hide a missing one.
    'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id "$1"/var/lib/dbus/machine-id',
    ': > "$1"/etc/hostname; : > "$1"/etc/machine-id; : > "$1"/etc/resolv.conf',
    'rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap',
    'rm -rf "$1"/usr/lib/udev/hwdb.d "$1"/var/log/*.log "$1"/var/cache/debconf/*-old',
)
PREFERENCES = "etc/apt/preferences.d/usr-is-merged"
SETUP = f"""printf 'Package: usrmerge\\nPin: release *\\nPin-Priority: -1\\n' > "$1"/{PREFERENCES}"""
"""Of the two packages that vouch for a merged /usr, `usrmerge` brings all of Perl, so the other one is wanted."""
OPTIONS = (
    "--quiet",
    "--mode=root",
    "--variant=apt",
    "--skip=output/dev",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    f"--setup-hook={SETUP}",
    f'--customize-hook=rm "$1"/{PREFERENCES}',
    *(f"--dpkgopt=path-exclude={path}" for path in UNWANTED),
)
UNCONFIGURED = ("slurmd", "munge", "chrony")
"""Services that start only once a machine has been configured."""
NOT_AT_BOOT = '[ ! -e "$1"/etc/init.d/{0} ] || chroot "$1" update-rc.d -f {0} remove'
"""As on a machine that never had them; what is disabled instead, Ansible's module for System V init can't enable."""


def build_root(root: Root, cache: Path) -> Path:
    """Make a root as a tar archive unless it is cached; return its path."""
    overlay = [file for folder in root.overlays for file in recipe.list_files(folder)]
    digest = recipe.compute_digest(root.packages, OPTIONS, CLEAN, UNCONFIGURED, NOT_AT_BOOT, files=overlay)
    archive = cache / f"{root.name}-{digest}.tar"
    if archive.exists():
        os.utime(archive)  # what was used last is kept longest
        return archive
    say(f"bootstrapping the lab's {root.name} root ({len(root.packages)} packages, about 40 s)")
    partial = archive.with_suffix(".partial.tar")
    hooks = [
        *(NOT_AT_BOOT.format(service) for service in UNCONFIGURED),
        *CLEAN,
        *(f'cp -r --preserve=mode "{folder}"/. "$1"/' for folder in root.overlays),
    ]
    run_mmdebstrap(root.packages, partial, hooks)
    partial.rename(archive)
    return archive


def run_mmdebstrap(packages: tuple[str, ...], target: Path, hooks: list[str]) -> None:
    """Bootstrap packages into a tar archive or folder, then run shell hooks with the root as `$1`."""
    command = ["mmdebstrap", *OPTIONS, f"--include={','.join(packages)}"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    with subprocess.Popen(
        ["nice", *command, recipe.SUITE, str(target), debian_mirror()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        output, _ = process.communicate(timeout=BUILD_SECONDS)
    if process.returncode:
        sys.stderr.write(output.decode(errors="replace"))
        raise subprocess.CalledProcessError(process.returncode, "mmdebstrap")


def build_mirror(cache: Path) -> Path:
    """Make the folder with the package mirror, the kernel and the network boot program unless it is cached.

    Every package that a management node lacks for any of `recipe.SERVED` is in it, with an index that apt reads as
    `deb URL ./`.
    """
    digest = recipe.compute_digest(OPTIONS, recipe.SYSTEM, recipe.SERVED, recipe.KERNEL)
    folder = cache / f"mirror-{digest}"
    if folder.exists():
        os.utime(folder)
        return folder
    say("collecting the lab's package mirror and kernel (about 60 s)")
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    debian = partial / "debian"
    debian.mkdir(parents=True)
    download = "APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get install --yes --quiet --download-only --no-install-recommends"
    hooks = [
        f"{download} {' '.join(recipe.SERVED)} {recipe.KERNEL}",
        f'cp "$1"/var/cache/apt/archives/*.deb "{debian}"/',
    ]
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        run_mmdebstrap(recipe.SYSTEM, Path(scratch) / "root.tar", hooks)
    apply_kernel(partial)
    apply_network_boot_program(partial)
    index = subprocess.run(["apt-ftparchive", "packages", "."], cwd=debian, check=True, capture_output=True).stdout
    (debian / "Packages").write_bytes(index)
    (debian / "Packages.gz").write_bytes(gzip.compress(index, mtime=0))
    release = ["apt-ftparchive", "-o", f"APT::FTPArchive::Release::Codename={recipe.SUITE}", "release", "."]
    (debian / "Release").write_bytes(subprocess.run(release, cwd=debian, check=True, capture_output=True).stdout)
    partial.rename(folder)
    return folder


def apply_kernel(folder: Path) -> None:
    """Take the kernel out of its package, which the mirror then need not carry, into `kernel/vmlinuz`."""
    (folder / "kernel").mkdir()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for package in (folder / "debian").glob("linux-image-*.deb"):
            subprocess.run(["dpkg-deb", "--extract", str(package), scratch], check=True)
            package.unlink()
        (kernel,) = Path(scratch).glob("boot/vmlinuz-*")
        shutil.copyfile(kernel, folder / "kernel" / "vmlinuz")


def apply_network_boot_program(folder: Path) -> None:
    """Take iPXE out of its package into `tftp/undionly.kpxe`."""
    (folder / "tftp").mkdir()
    (package,) = (folder / "debian").glob("ipxe_*.deb")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        subprocess.run(["dpkg-deb", "--extract", str(package), scratch], check=True)
        shutil.copyfile(Path(scratch) / recipe.NETWORK_BOOT_PROGRAM, folder / "tftp" / "undionly.kpxe")

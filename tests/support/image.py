"""Builds the operator's image from the Dockerfile without Docker, as an OCI archive that any cluster can import.

The base is bootstrapped from Debian's packages with mmdebstrap, the Dockerfile is run by buildah in a chroot, so
neither a daemon nor a registry is needed. Everything is cached under the user's cache folder, keyed by what it was made
from.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from local_kubernetes.binaries.packages import SUITE, debian_mirror
from local_kubernetes.oci import Image
from local_kubernetes.storage import locked
from tests.support.checkout import ROOT

REPOSITORY = "localhost/bessemer"
INPUTS = ("Dockerfile", ".dockerignore", "pyproject.toml", "uv.lock", "operator", "playbooks")
BUILD_SECONDS = 1800
"""The longest a cold build may take; it is bound by the package mirrors."""
KEPT_ARCHIVES = 2
"""Older archives are removed: each is some hundred megabytes."""


def cache_directory() -> Path:
    """Return the folder for built images, made if missing."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "bessemer" / "image"
    path.mkdir(parents=True, exist_ok=True)
    return path


def compute_digest(root: Path = ROOT) -> str:
    """Return twelve hexadecimal digits that change whenever anything that goes into the image does."""
    digest = hashlib.sha256()
    for file in sorted(list_inputs(root)):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def list_inputs(root: Path) -> Iterator[Path]:
    """List the files that go into the image."""
    for name in INPUTS:
        path = root / name
        if path.is_file():
            yield path
        for file in path.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def build_image() -> Image:
    """Build the image unless it is cached.

    Raises:
        subprocess.CalledProcessError: a tool failed; its output is above.

    """
    cache = cache_directory()
    image = Image(f"{REPOSITORY}:{compute_digest()}", cache / f"bessemer-{compute_digest()}.tar")
    with locked(cache / "lock"):
        if not image.archive.exists():
            install_tools()
            say("building the operator's image (about 4 minutes cold, half a minute when only code changed)")
            started = time.monotonic()
            storage = ["--root", str(cache / "storage"), "--runroot", str(cache / "run")]
            base = apply_base(cache, storage)
            # The builder's certificates, so that package indexes are reached where the site has its own authority.
            certificates = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
            options = ["--layers", "--isolation", "chroot", "--build-arg", f"BASE={base}", *certificates]
            run_buildah([*storage, "build", *options, "--tag", image.name, str(ROOT)])
            partial = image.archive.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            run_buildah([*storage, "push", "--quiet", image.name, f"oci-archive:{partial}:{image.name}"])
            partial.rename(image.archive)
            say(
                f"built {image.name} in {time.monotonic() - started:.0f} s, {image.archive.stat().st_size / 1e6:.0f} MB"
            )
            delete_old_images(cache, storage)
    return image


def apply_base(cache: Path, storage: list[str]) -> str:
    """Make the Debian base image once; return its name."""
    name = f"localhost/bessemer-base:{SUITE}"
    found = subprocess.run(
        ["buildah", *storage, "images", "--quiet", name], capture_output=True, check=False, env=environment()
    )
    if found.returncode == 0:
        return name
    archive = cache / "base.tar"
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=apt",
            "--include=ca-certificates",
            SUITE,
            str(archive),
            debian_mirror(),
        ],
        check=True,
        timeout=BUILD_SECONDS,
    )
    container = run_buildah([*storage, "from", "scratch"]).strip()
    run_buildah([*storage, "add", "--quiet", container, str(archive), "/"])
    run_buildah([*storage, "commit", "--quiet", "--rm", container, name])
    archive.unlink()
    return name


def install_tools() -> None:
    """Install the Debian packages that the build needs, where missing."""
    missing = [tool for tool in ("buildah", "mmdebstrap") if shutil.which(tool) is None]
    if missing:
        say(f"installing {' '.join(missing)} with apt")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
            check=True,
            stdout=subprocess.DEVNULL,
        )


def environment() -> dict[str, str]:
    """Return buildah's environment; overlay needs no copies of layers."""
    return {**os.environ, "STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}


def run_buildah(arguments: list[str]) -> str:
    """Run buildah; return what it prints, and show its complaints."""
    done = subprocess.run(
        ["buildah", *arguments], capture_output=True, text=True, timeout=BUILD_SECONDS, env=environment(), check=False
    )
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        done.check_returncode()
    return done.stdout


def delete_old_images(cache: Path, storage: list[str]) -> None:
    """Keep the newest images only, and with them the layers that the next build starts from."""
    archives = sorted(cache.glob("bessemer-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    kept = {f"{REPOSITORY}:{archive.stem.removeprefix('bessemer-')}" for archive in archives[:KEPT_ARCHIVES]}
    for archive in archives[KEPT_ARCHIVES:]:
        archive.unlink()
    listed = run_buildah([*storage, "images", "--format", "{{.Name}}:{{.Tag}}", "--filter", f"reference={REPOSITORY}"])
    if old := sorted(set(listed.split()) - kept):
        run_buildah([*storage, "rmi", *old])


def say(text: str) -> None:
    """Tell the person at the terminal what takes time."""
    print(f"image: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(build_image().archive)

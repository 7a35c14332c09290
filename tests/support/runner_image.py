"""Builds the images of runner pods, of their jobs' helpers and of a Docker daemon beside them, as archives that any
cluster can import.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from local_kubernetes.binaries.build import get_binaries
from local_kubernetes.binaries.components import GITLAB_RUNNER
from local_kubernetes.oci import Image, ImageConfiguration, create_archive
from local_kubernetes.storage import locked
from rack.image.layers import cache_directory
from rack.image.recipe import Root, compute_digest
from rack.image.roots import build_root
from tests.support.image import install_tools

REPOSITORY = "localhost/bessemer-runner"
ROOT = Root("runner", ("bash", "ca-certificates", "git", "openssh-client", "tinyproxy-bin"))
DOCKER_ROOT = Root("docker", ("bash", "ca-certificates", "docker.io", "iptables"))
BUILD_SCRIPT = Path(__file__).with_name("gitlab-runner-build")
DOCKER_SCRIPT = Path(__file__).with_name("dockerd-entrypoint")
MODES = {"usr/bin/gitlab-runner": 0o711}
"""A job must not read the runner's memory, which contains its token: a user who may not read a program may not read its
memory, either."""
PATH = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def get_gitlab_runner() -> Path:
    """Return the runner: the one that the user names, the one on the PATH, or one built from source (minutes, once)."""
    given = os.environ.get("GITLAB_RUNNER") or shutil.which("gitlab-runner")
    return Path(given) if given else get_binaries(GITLAB_RUNNER) / "gitlab-runner"


def build_runner_image() -> Image:
    """Build the image of runner pods, GitLab's runner on a small Debian, unless it is cached.

    Raises:
        subprocess.CalledProcessError: a tool failed; its output is above.

    """
    runner = get_gitlab_runner()
    files = {"usr/bin/gitlab-runner": runner}
    return _build_image(REPOSITORY, ROOT, files, runner.parent.name, ImageConfiguration(("bash",), PATH))


def build_helper_image() -> Image:
    """Build the image of the helper container of the executors Kubernetes and Docker, unless it is cached.

    They want a shell under the name gitlab-runner-build and the helper's program beside it. Source:
    https://gitlab.com/gitlab-org/gitlab-runner/-/tree/main/dockerfiles/runner-helper
    """
    folder = get_binaries(GITLAB_RUNNER)
    files = {
        "usr/bin/gitlab-runner-helper": folder / "gitlab-runner-helper",
        "usr/bin/gitlab-runner-build": BUILD_SCRIPT,
    }
    origin = compute_digest(folder.name, BUILD_SCRIPT.read_text(encoding="utf-8"))
    return _build_image(f"{REPOSITORY}-helper", ROOT, files, origin, ImageConfiguration((), PATH))


def build_docker_image(content: Image) -> Image:
    """Build the image of a Docker daemon, Debian's, that has an image already when it starts, unless it is cached."""
    files = {"usr/local/bin/dockerd-entrypoint": DOCKER_SCRIPT, "usr/share/images/content.tar": content.archive}
    origin = compute_digest(content.archive.name, DOCKER_SCRIPT.read_text(encoding="utf-8"))
    configuration = ImageConfiguration(("dockerd-entrypoint",), PATH)
    return _build_image(f"{REPOSITORY}-docker", DOCKER_ROOT, files, origin, configuration)


def _build_image(
    repository: str, base: Root, files: dict[str, Path], origin: str, configuration: ImageConfiguration
) -> Image:
    """Return the image of a small Debian with these files (by path); ``origin`` identifies their source."""
    install_tools()
    cache = cache_directory()
    name = repository.removeprefix("localhost/")
    # The root is also made under the lock: concurrent runs would write the same file.
    with locked(cache / "runner.lock"):
        root = build_root(base, cache)
        tag = f"{GITLAB_RUNNER.version}-{root.stem.removeprefix(f'{base.name}-')}"
        image = Image(f"{repository}:{tag}", cache / f"{name}-{tag}-{origin}.tar")
        if not image.archive.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                layer = Path(folder)
                layer.chmod(0o755)  # it becomes the image's root
                for target, source in files.items():
                    (layer / target).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, layer / target)
                    (layer / target).chmod(MODES.get(target, 0o755))
                create_archive(image.archive, [image.name], [root, layer], configuration)
    return image

"""Builds the image of runner pods: GitLab's runner on a small Debian, as an archive that any cluster can import."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tests.support.cluster.binaries.build import get_binaries
from tests.support.cluster.binaries.components import GITLAB_RUNNER
from tests.support.image import Image, install_tools, locked
from tests.support.lab.image.layers import cache_directory
from tests.support.lab.image.recipe import Root
from tests.support.lab.image.roots import build_root
from tests.support.oci import ImageConfiguration, create_archive

REPOSITORY = "localhost/bessemer-runner"
ROOT = Root("runner", ("bash", "ca-certificates", "git"))
CONFIGURATION = ImageConfiguration(
    entrypoint=("gitlab-runner",), environment={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
)


def get_gitlab_runner() -> Path:
    """Give the runner: the one that the user names, the one on the PATH, or one built from source (minutes, once)."""
    given = os.environ.get("GITLAB_RUNNER") or shutil.which("gitlab-runner")
    return Path(given) if given else get_binaries(GITLAB_RUNNER) / "gitlab-runner"


def build_runner_image() -> Image:
    """Build the image unless it is cached.

    Raises:
        subprocess.CalledProcessError: a tool failed; its output is above.

    """
    program = get_gitlab_runner()
    install_tools()
    cache = cache_directory()
    root = build_root(ROOT, cache)
    tag = f"{GITLAB_RUNNER.version}-{root.stem.removeprefix('runner-')}"
    image = Image(f"{REPOSITORY}:{tag}", cache / f"bessemer-runner-{tag}-{program.parent.name}.tar")
    with locked(cache / "runner.lock"):
        if not image.archive.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                layer = Path(folder)
                layer.chmod(0o755)  # it becomes the image's root
                (layer / "usr/bin").mkdir(parents=True)
                shutil.copy(program, layer / "usr/bin/gitlab-runner")
                (layer / "usr/bin/gitlab-runner").chmod(0o755)
                create_archive(image.archive, [image.name], [root, layer], CONFIGURATION)
    return image

"""Builds the images of runner pods and of their jobs' helpers, as archives that any cluster can import."""

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
ROOT = Root("runner", ("bash", "ca-certificates", "git", "openssh-client", "tinyproxy-bin"))
BUILD_SCRIPT = Path(__file__).with_name("gitlab-runner-build")
CONFIGURATION = ImageConfiguration(
    entrypoint=("bash",), environment={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
)


def get_gitlab_runner() -> Path:
    """Give the runner: the one that the user names, the one on the PATH, or one built from source (minutes, once)."""
    given = os.environ.get("GITLAB_RUNNER") or shutil.which("gitlab-runner")
    return Path(given) if given else get_binaries(GITLAB_RUNNER) / "gitlab-runner"


def build_runner_image() -> Image:
    """Build the image of runner pods, GitLab's runner on a small Debian, unless it is cached.

    Raises:
        subprocess.CalledProcessError: a tool failed; its output is above.

    """
    return _build_image(REPOSITORY, {"gitlab-runner": get_gitlab_runner()})


def build_helper_image() -> Image:
    """Build the image of the helper container of the executor Kubernetes, unless it is cached.

    The executor wants a shell under the name gitlab-runner-build and the helper's program beside it. Source:
    https://gitlab.com/gitlab-org/gitlab-runner/-/tree/main/dockerfiles/runner-helper
    """
    folder = get_binaries(GITLAB_RUNNER)
    programs = {"gitlab-runner-helper": folder / "gitlab-runner-helper", "gitlab-runner-build": BUILD_SCRIPT}
    return _build_image(f"{REPOSITORY}-helper", programs)


def _build_image(repository: str, programs: dict[str, Path]) -> Image:
    """Put programs into a small Debian with git."""
    install_tools()
    cache = cache_directory()
    root = build_root(ROOT, cache)
    tag = f"{GITLAB_RUNNER.version}-{root.stem.removeprefix('runner-')}"
    name = repository.removeprefix("localhost/")
    origin = next(iter(programs.values())).parent.name
    image = Image(f"{repository}:{tag}", cache / f"{name}-{tag}-{origin}.tar")
    with locked(cache / "runner.lock"):
        if not image.archive.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                layer = Path(folder)
                layer.chmod(0o755)  # it becomes the image's root
                (layer / "usr/bin").mkdir(parents=True)
                for program, path in programs.items():
                    shutil.copy(path, layer / "usr/bin" / program)
                    (layer / "usr/bin" / program).chmod(0o755)
                create_archive(image.archive, [image.name], [root, layer], CONFIGURATION)
    return image
